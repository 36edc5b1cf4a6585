# Completions for bash: the tables as shell functions, for tail.bash.

function list_options(i,    j, s) {
	for (j = 1; j <= nopt[i]; j++) {
		s = s " " long[i, j] (kind[i, j] == "required" ? "=" : "")
		if (short[i, j] != "")
			s = s " " short[i, j]
	}
	return substr(s, 2)
}

END {
	print "# kevo completion for bash; generated, do not edit\n"

	print "_kevo_options()\n{\n\tcase $1 in"
	for (i = 1; i <= ntool; i++)
		printf "\t\"%s\") echo \"%s\" ;;\n", tool[i], list_options(i)
	print "\tesac\n}\n"

	print "# What the option $2 of tool $1 takes: one of some words, after" \
	    " a sign if it\n# is optional; FILE, or another name; nothing if" \
	    " nothing."
	print "_kevo_argument()\n{\n\tcase \"$1 $2\" in"
	for (i = 1; i <= ntool; i++)
		for (j = 1; j <= nopt[i]; j++) {
			if (kind[i, j] == "none")
				continue
			printf "\t\"%s %s\"", tool[i], long[i, j]
			if (short[i, j] != "")
				printf " | \"%s %s\"", tool[i], short[i, j]
			if (words[i, j] == "")
				printf ") echo %s ;;\n", arg[i, j]
			else
				printf ") echo \"%s %s\" ;;\n", \
				    kind[i, j] == "optional" ? "?" : "=", \
				    words[i, j]
		}
	print "\tesac\n}\n"

	print "# The sub-commands of tool $1."
	print "_kevo_subs()\n{\n\tcase $1 in"
	for (i = 1; i <= ntool; i++)
		if (subs(tool[i]) != "")
			printf "\t%s) echo \"%s\" ;;\n", tool[i], subs(tool[i])
	print "\tesac\n}\n"

	for (i = 1; i <= ntool; i++)
		if (sub_of[i] == "")
			verbs = verbs " " verb(i)
	printf "_kevo_verbs=\"%s\"\n", substr(verbs, 2)
	printf "_kevo_topics=\"%s\"\n", topics

	printf "_kevo_tools=\"kevo"
	for (i = 1; i <= ntool; i++)
		if (sub_of[i] == "")
			printf " %s", tool[i]
	print "\"\n"
}
