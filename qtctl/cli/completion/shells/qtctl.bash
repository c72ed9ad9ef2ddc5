# Completion of qtctl for bash 4.4 and later: eval "$(qtctl completion bash)"
_qtctl() {
    local kind='' name=${1/#\~\//$HOME/}
    COMPREPLY=()
    # Values come quoted, so that none of them can be more to the shell than a word.
    { IFS= read -r kind; mapfile -t COMPREPLY; } < <(
        command "$name" completion answer bash \
            -- "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null </dev/null
    )
    case $kind in
        files) compopt -o default ;;
        open) compopt -o nospace ;;
    esac
}
complete -o nosort -F _qtctl qtctl
