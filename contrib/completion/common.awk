# What the three generators share: the tables in arrays.
#
#   ntool, tool[i], summary[i]; nopt[i], and for each option j of tool i:
#   short[i, j] "-f" or "", long[i, j] "--format", kind[i, j] none, required
#   or optional, arg[i, j] "FORMAT", help[i, j],
#   words[i, j] to be offered for the argument, or ""

BEGIN {
	FS = "\t"
	topics = "formats exit-status"
}

$1 == "tool" {
	tool[++ntool] = $2
	summary[ntool] = $3
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

# A tool's name without "kevo-".
function verb(i) {
	return substr(tool[i], 6)
}

function takes_files(i) {
	return tool[i] == "kevo-import"
}

function single_quoted(s) {
	gsub(/\047/, "\047\\\047\047", s)
	return "\047" s "\047"
}
