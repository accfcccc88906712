#include "cli/completion.h"

#include "base/compiler.h"
#include "base/text.h"

/* The line is split anew, since bash splits words at ':' and '=', too; it replaces only what stands behind the last of those. */
static const char bash_script[] =
	"_mlmake() {\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} word rest\n"
	"\tlocal -a words\n"
	"\tread -ra words <<< \"$line\"\n"
	"\t[[ $line == *[[:space:]] ]] && words+=(\"\")\n"
	"\tlocal current=${words[${#words[@]} - 1]} program=${1/#\\~/$HOME}\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS=$'\\t' read -r word rest; do\n"
	"\t\tCOMPREPLY+=(\"$word\")\n"
	"\tdone < <(\"$program\" completion words -- \"${words[@]:1}\" 2>/dev/null)\n"
	"\tif [[ $COMP_WORDBREAKS == *:* && $current == *:* ]]; then\n"
	"\t\tlocal kept=${current%\"${current##*:}\"}\n"
	"\t\tCOMPREPLY=(\"${COMPREPLY[@]#\"$kept\"}\")\n"
	"\tfi\n"
	"}\n"
	"complete -o bashdefault -o default -F _mlmake mlmake\n";

static const char zsh_script[] =
	"#compdef mlmake\n"
	"_mlmake() {\n"
	"\tlocal -a found\n"
	"\tlocal word text\n"
	"\twhile IFS=$'\\t' read -r word text; do\n"
	"\t\tfound+=(\"${word//:/\\\\:}:$text\")\n"
	"\tdone < <(${(Q)words[1]} completion words -- \"${(@Q)words[2,CURRENT-1]}\" \"$PREFIX\" 2>/dev/null)\n"
	"\tif (( $#found )); then\n"
	"\t\t_describe mlmake found\n"
	"\telse\n"
	"\t\t_files\n"
	"\tfi\n"
	"}\n"
	"if [[ $funcstack[1] == _mlmake ]]; then\n"
	"\t_mlmake \"$@\"\n"
	"else\n"
	"\tcompdef _mlmake mlmake\n"
	"fi\n";

static const char fish_script[] =
	"function __mlmake_words\n"
	"\tset -l words (commandline -opc)\n"
	"\tset -l program $words[1]\n"
	"\tset -e words[1]\n"
	"\t$program completion words -- $words (commandline -ct) 2>/dev/null\n"
	"end\n"
	"complete -c mlmake -n 'test (count (__mlmake_words)) -gt 0' -f -a '(__mlmake_words)'\n";

const char *completion_script(const char *shell)
{
	static const struct {
		const char *shell, *script;
	} scripts[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++)
		if (text_eq(shell, scripts[i].shell))
			return scripts[i].script;
	return NULL;
}
