"""Pure decisions: values in, decisions out. No Redis, no clock, no environment, no logging."""
