# What the three generators share: the tables in arrays, and what to offer
# for an argument, by the name it has in --help.
#
#   ntool, tool[i], summary[i]; nopt[i], and for each option j of tool i:
#   short[i, j] "-f" or "", long[i, j] "--format", kind[i, j] none, required
#   or optional, arg[i, j] "FORMAT", help[i, j]

BEGIN {
	FS = "\t"
	choices["FORMAT"] = "tsv text nul hex base64 jsonl jsonl64 csv cdb " \
	    "db lmdb resp sql ops raw"
	choices["MODE"] = "full batch none"
	choices["WHEN"] = "auto always never numeric"
	choices["WHAT"] = "replace keep fail"
	choices["ENCODING"] = "hex base64"
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
