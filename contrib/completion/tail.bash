# Walk over the words of tool $1 from number $2 to the cursor: sets takes
# (what the word at the cursor is an argument of, if it is) and operands (how
# many there are already).  Bash makes a word of its own of each "=".
_kevo_walk()
{
	local i word
	takes='' operands=0
	for ((i = $2; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((operands > 0)); then
			((operands++))
		elif [[ $word == = ]]; then
			takes=$(_kevo_argument "$1" "${COMP_WORDS[i - 1]}")
		elif [[ -n $takes ]]; then
			takes=''
		elif [[ $word == --* ]]; then
			takes=$(_kevo_argument "$1" "$word")
			# An argument that is optional comes after "=" only.
			[[ $takes == \?* || ${COMP_WORDS[i + 1]} == = ]] &&
				takes=''
		elif [[ $word == -?* ]]; then
			takes=$(_kevo_argument "$1" "-${word: -1}")
		else
			((operands++))
		fi
	done
}

# Offer the words $1.
_kevo_offer()
{
	local IFS=$' \t\n'
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

# Offer what an argument $1 may be, as _kevo_argument() says it.
_kevo_choices()
{
	case $1 in
	[=?]*) _kevo_offer "${1:2}" ;;
	FILE)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	esac
	[[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
}

# Complete the name of a sub-command of $tool, which is word $1, or what
# belongs to it.
_kevo_sub()
{
	local takes operands
	if ((COMP_CWORD == $1)); then
		_kevo_offer "$(_kevo_subs "$tool") --help --version"
		return
	fi
	tool="$tool ${COMP_WORDS[$1]}"
	_kevo_walk "$tool" $(($1 + 1))
	if [[ -n $takes ]]; then
		_kevo_choices "$takes"
	elif [[ $cur == -* ]]; then
		_kevo_offer "$(_kevo_options "$tool")"
		[[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
	else
		_kevo_choices FILE
	fi
}

# Complete an option, an argument or an operand of $tool.
_kevo_complete()
{
	local takes operands
	if [[ -n $(_kevo_subs "$tool") ]]; then
		_kevo_sub "$1"
		return
	fi
	_kevo_walk "$tool" "$1"
	if [[ $cur == = && $operands -eq 0 ]]; then
		takes=$(_kevo_argument "$tool" "${COMP_WORDS[COMP_CWORD - 1]}")
		cur=''
	fi
	if [[ -n $takes ]]; then
		_kevo_choices "$takes"
	elif ((operands == 0)) && [[ $cur == -* ]]; then
		_kevo_offer "$(_kevo_options "$tool")"
		[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
	elif ((operands == 0)); then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
	elif [[ $tool == kevo-import ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}

_kevo()
{
	local cur=${COMP_WORDS[COMP_CWORD]} tool=${COMP_WORDS[0]##*/}
	COMPREPLY=()
	if [[ $tool != kevo ]]; then
		_kevo_complete 1
	elif ((COMP_CWORD == 1)); then
		_kevo_offer "$_kevo_verbs help commands --help --version"
	elif [[ ${COMP_WORDS[1]} == commands ]]; then
		return
	elif [[ ${COMP_WORDS[1]} == help ]]; then
		((COMP_CWORD > 2)) || _kevo_offer "$_kevo_verbs $_kevo_topics"
	else
		tool=kevo-${COMP_WORDS[1]}
		_kevo_complete 2
	fi
}

# shellcheck disable=SC2086 # the names of several commands
complete -F _kevo $_kevo_tools
