"""What a command is made of: options, context, arguments, safety questions, exit codes."""
