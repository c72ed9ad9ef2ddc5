#compdef qtctl
# Completion of qtctl for zsh: eval "$(qtctl completion zsh)" behind compinit, or as the file _qtctl
# in a folder of $fpath.
_qtctl() {
    local name=${(Q)words[1]} kind line
    local -a lines values shown
    [[ $name == '~/'* ]] && name=$HOME/${name#'~/'}
    lines=("${(@f)$(command "$name" completion answer zsh -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null </dev/null)}")
    kind=$lines[1]
    for line in "${(@)lines[2,-1]}"; do
        values+=("${line%%$'\t'*}")
        shown+=("${line/$'\t'/  }")
    done
    case $kind in
        files) compset -P '--*='; _files ;;
        open) compadd -V qtctl -S '' -l -d shown -- "${values[@]}" ;;
        words) compadd -V qtctl -l -d shown -- "${values[@]}" ;;
    esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _qtctl "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _qtctl qtctl
fi
