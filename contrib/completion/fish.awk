# Completions for fish: each option twice, for kevo-TOOL and `kevo TOOL`.

function complete_option(command, i, j,    s) {
	s = "\t" command
	if (short[i, j] != "")
		s = s " -s " substr(short[i, j], 2)
	s = s " -l " substr(long[i, j], 3)
	if (kind[i, j] == "required" && arg[i, j] == "FILE")
		s = s " -r -F"
	else if (kind[i, j] == "required")
		s = s " -x"
	if (words[i, j] != "")
		s = s " -a " single_quoted(words[i, j])
	print s " -d " fish_quoted(help[i, j])
}

function fish_quoted(s) {
	gsub(/\\/, "\\\\", s)
	gsub(/\047/, "\\\047", s)
	return "\047" s "\047"
}

function complete_tool(command, i,    j) {
	for (j = 1; j <= nopt[i]; j++)
		complete_option(command, i, j)
	print "\t" command (takes_files(i) ? " -F" : \
	    " -f -a \047(__fish_complete_directories)\047")
}

# A sub-command: offered where none is given, and then its options.
function complete_sub(i,    seen, front) {
	seen = "__fish_seen_subcommand_from "
	front = substr(sub_of[i], 6)
	print "\tcomplete -c " sub_of[i] " -f -n __fish_use_subcommand -a " \
	    verb(i) " -d " fish_quoted(summary[i])
	print "\tcomplete -c kevo -f -n \047" seen front "; and not " seen \
	    subs(sub_of[i]) "\047 -a " verb(i)
	complete_tool("complete -c " sub_of[i] " -n \047" seen verb(i) \
	    "\047", i)
	complete_tool("complete -c kevo -n \047" seen front "; and " seen \
	    verb(i) "\047", i)
}

END {
	print "# kevo completion for fish; generated, do not edit\n"
	print "if not set -q __kevo_completions"
	print "\tset -g __kevo_completions 1\n"
	first = "\tcomplete -c kevo -f -n __fish_use_subcommand"
	for (i = 1; i <= ntool; i++)
		if (sub_of[i] == "")
			print first " -a " verb(i) " -d " fish_quoted(summary[i])
	print first " -a help -d \047Show a manual page\047"
	print first " -a commands -d \047List the tools\047"
	for (i = 1; i <= ntool; i++)
		if (sub_of[i] == "")
			all = all " " verb(i)
	print "\tcomplete -c kevo -f -n " \
	    "\047__fish_seen_subcommand_from commands\047"
	print "\tcomplete -c kevo -f -n " \
	    "\047__fish_seen_subcommand_from help\047 -a \047" topics all "\047"
	for (i = 1; i <= ntool; i++) {
		print ""
		if (sub_of[i] != "") {
			complete_sub(i)
			continue
		}
		complete_tool("complete -c " tool[i], i)
		complete_tool("complete -c kevo -n \047__fish_seen_subcommand" \
		    "_from " verb(i) "\047", i)
	}
	print "end"
}
