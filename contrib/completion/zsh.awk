# Completions for zsh, in the language of _arguments.

# Inside [...] and between colons, what would end them is escaped.
function escaped(s) {
	gsub(/\[|\]|:/, "\\\\&", s)
	return s
}

function action(i, j) {
	if (words[i, j] != "")
		return "(" words[i, j] ")"
	return arg[i, j] == "FILE" ? "_files" : " "
}

function spec(i, j,    s, l, text, tail) {
	s = short[i, j]
	l = long[i, j]
	text = "[" escaped(help[i, j]) "]"
	if (kind[i, j] == "none")
		tail = text
	else
		tail = text (kind[i, j] == "optional" ? "::" : ":") \
		    escaped(arg[i, j]) ":" action(i, j)
	if (kind[i, j] == "required") {
		s = s "+"
		l = l "="
	} else if (kind[i, j] == "optional") {
		l = l "=-"
	}
	if (short[i, j] == "")
		return single_quoted("*" l tail)
	return "\047*\047{" s "," l "}" single_quoted(tail)
}

END {
	printf "#compdef kevo"
	for (i = 1; i <= ntool; i++)
		if (sub_of[i] == "")
			printf " %s", tool[i]
	print "\n# kevo completion for zsh; generated, do not edit\n"

	print "_kevo_tool() {\n\tcase $1 in"
	for (i = 1; i <= ntool; i++) {
		printf "\t(%s)\n\t\t_arguments -s -S%s \\\n",
		    single_quoted(tool[i]), sub_of[i] == "" ? " -A \"-*\"" : ""
		for (j = 1; j <= nopt[i]; j++)
			printf "\t\t\t%s \\\n", spec(i, j)
		if (sub_of[i] == "")
			print "\t\t\t\0471:database:_files -/\047 \\"
		printf "\t\t\t\047*:%s\047\n\t\t;;\n", takes_files(i) ? \
		    "file:_files" : "operand: "
	}
	print "\t(*)\n\t\t_default\n\t\t;;\n\tesac\n}\n"

	print "_kevo_subs() {\n\tcase $1 in"
	for (i = 1; i <= ntool; i++)
		if (subs(tool[i]) != "")
			printf "\t(%s) echo %s ;;\n", tool[i], subs(tool[i])
	print "\tesac\n}\n"

	print "_kevo_verbs() {\n\tlocal -a verbs\n\tverbs=("
	for (i = 1; i <= ntool; i++)
		if (sub_of[i] == "")
			printf "\t\t%s\n", single_quoted(verb(i) ":" \
			    escaped(summary[i]))
	print "\t\t'help:Show a manual page'\n\t\t'commands:List the tools'"
	print "\t)\n\t_describe tool verbs\n}\n"

	print "_kevo() {"
	print "\tlocal tool=$service"
	print "\tif [[ $tool == kevo ]]; then"
	print "\t\tif (( CURRENT == 2 )); then"
	print "\t\t\t_kevo_verbs"
	print "\t\t\treturn"
	print "\t\tfi"
	print "\t\t[[ $words[2] == commands ]] && return"
	print "\t\tif [[ $words[2] == help ]]; then"
	printf "\t\t\t_values topic %s", topics
	for (i = 1; i <= ntool; i++)
		if (sub_of[i] == "")
			printf " %s", verb(i)
	print "\n\t\t\treturn"
	print "\t\tfi"
	print "\t\ttool=kevo-$words[2]"
	print "\t\tshift words"
	print "\t\t(( CURRENT-- ))"
	print "\tfi"
	print "\tlocal -a subs"
	print "\tsubs=($(_kevo_subs $tool))"
	print "\tif (( $#subs > 0 )); then"
	print "\t\tif (( CURRENT == 2 )); then"
	print "\t\t\t_values command $subs"
	print "\t\t\treturn"
	print "\t\tfi"
	print "\t\ttool=\"$tool $words[2]\""
	print "\t\tshift words"
	print "\t\t(( CURRENT-- ))"
	print "\tfi"
	print "\t_kevo_tool \"$tool\""
	print "}\n"
	print "_kevo \"$@\""
}
