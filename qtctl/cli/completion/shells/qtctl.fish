# Completion of qtctl for fish 3.4 and later: qtctl completion fish | source
function __qtctl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct | string unescape)
    set -l name (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l lines (command $name completion answer fish -- $words[2..] "$current" 2>/dev/null </dev/null)
    if test "$lines[1]" = files
        set -l head (string match -r -- '^--[^=]*=' $current)
        for path in (__fish_complete_path (string replace -- "$head" '' $current))
            printf '%s\n' "$head"$path
        end
    else
        printf '%s\n' $lines[2..]
    end
end
complete -c qtctl -f -k -a '(__qtctl_complete)'
