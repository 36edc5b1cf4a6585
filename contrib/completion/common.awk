# What the three generators share: the tables in arrays.
#
#   ntool, tool[i], summary[i]; sub_of[i], the tool that tool[i] is a
#   sub-command of ("kevo-walship" of "kevo-walship send"), or ""; nopt[i], and for each option j of tool i:
#   short[i, j] "-f" or "", long[i, j] "--format", kind[i, j] none, required
#   or optional, arg[i, j] "FORMAT", help[i, j],
#   words[i, j] to be offered for the argument, or ""

BEGIN {
	FS = "\t"
	topics = "formats exit-status stories"
}

$1 == "tool" {
	tool[++ntool] = $2
	summary[ntool] = $3
	sub_of[ntool] = index($2, " ") ? substr($2, 1, index($2, " ") - 1) : ""
	nopt[ntool] = 0
}

$1 == "option" {
	j = ++nopt[ntool]
	short[ntool, j] = $2
	long[ntool, j] = $3
	kind[ntool, j] = $4
	arg[ntool, j] = $5
	help[ntool, j] = $6
	words[ntool, j] = $7
}

# A tool's name without "kevo-", a sub-command's without its tool.
function verb(i) {
	return substr(tool[i], sub_of[i] == "" ? 6 : length(sub_of[i]) + 2)
}

# The verbs of the sub-commands of a tool, with blanks between them.
function subs(name,    i, s) {
	for (i = 1; i <= ntool; i++)
		if (sub_of[i] == name)
			s = s " " verb(i)
	return substr(s, 2)
}

function takes_files(i) {
	return tool[i] == "kevo-import" || sub_of[i] != ""
}

function single_quoted(s) {
	gsub(/\047/, "\047\\\047\047", s)
	return "\047" s "\047"
}
