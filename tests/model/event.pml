/*
 * event: who waits for commits is woken, though nobody knows of it until it
 * says so in a word that everybody shares.
 *
 * Watchers announce themselves, look, and sleep on the word (a futex: the
 * kernel compares it once more).  Committers make a commit visible, or find
 * that another did it for them, look for the mark, and only if it is there
 * wake.  Anybody may die at any step.
 *
 * Explored: when a commit is acknowledged, no watcher is asleep that has not
 * seen it; who has died asleep leaves a mark that goes with the next wake.
 *
 * Broken variants:
 *   LOOK_FIRST	a watcher looks, then announces itself
 *   TELL_FIRST	a committer looks for the mark, then makes it visible
 *   UNMARK_FIRST	the mark is taken away before who sleeps is woken
 *   UNMARK_ALWAYS	it is taken away also if somebody came since
 *   ENTER_QUIET	a watcher that finds the mark set leaves the word alone
 *   TELL_DOER	only who made a commit visible tells of it
 */
#ifndef WATCHERS
#define WATCHERS	2
#endif
#ifndef COMMITS
#define COMMITS	2	/* and committers; each makes one */
#endif
#ifndef ROUNDS
#define ROUNDS	3	/* a watcher goes away after so many */
#endif
#ifndef KILLS
#define KILLS	1
#endif

byte appended, visible;
byte count;		/* the word: a count, */
bool mark;		/* and that somebody sleeps */
bool asleep[WATCHERS + 1];
byte saw[WATCHERS + 1];
byte acked;
byte kills = KILLS;

#define STEP(x) atomic { x; if :: true :: kills > 0 -> kills--; goto died fi }

inline wake_all()
{
	i = 1;
	do
	:: i > WATCHERS -> break
	:: i <= WATCHERS -> asleep[i] = false; i++
	od;
	i = 0
}

/* The killed are not asleep: their flag is cleared when they die. */
inline nobody_missed(n)
{
	i = 1;
	do
	:: i > WATCHERS -> break
	:: i <= WATCHERS -> assert(!asleep[i] || saw[i] >= n); i++
	od;
	i = 0
}

inline enter()
{
#ifdef ENTER_QUIET
	if
	:: !mark -> count++; mark = true
	:: else -> skip
	fi;
#else
	count++; mark = true;
#endif
	seen = count
}

proctype Watcher(byte me)
{
	byte seen, rounds;

again:
	if
	:: atomic { rounds == ROUNDS -> goto done }
	:: atomic { rounds < ROUNDS -> rounds++ }
	fi;
#ifdef LOOK_FIRST
	STEP(saw[me] = visible);
	STEP(enter());
#else
	/* E1_ENTER, E2_LOOK */
	STEP(enter());
	STEP(saw[me] = visible);
#endif
	/* E3_SLEEP */
	STEP(if
	     :: saw[me] == COMMITS -> goto done
	     :: saw[me] < COMMITS && mark && count == seen -> asleep[me] = true
	     :: saw[me] < COMMITS && !(mark && count == seen) -> goto again
	     fi);
end_asleep:	/* killed asleep, or woken */
	atomic {
		if
		:: !asleep[me] -> goto again
		:: kills > 0 -> kills--; goto died
		fi
	};
died:
	asleep[me] = false;
done:
	atomic { seen = 0; rounds = 0 }
}

proctype Committer(byte me)
{
	byte mine, i;
	bool found, does, tells = true;

	STEP(appended == me - 1; appended = me);
#ifdef TELL_FIRST
	STEP(found = mark);
#endif
	/* T1_DO: or somebody did it for us; one at a time, as under SYNC */
	STEP(if
	     :: visible < me -> visible = appended; does = true
	     :: visible >= me -> skip
	     fi);
#ifdef TELL_DOER
	tells = does;
#endif
#ifndef TELL_FIRST
	/* T2_LOOK */
	STEP(found = mark);
#endif
	if
	:: atomic { found && tells -> found = false };
#ifdef UNMARK_FIRST
		STEP(count++; mark = false);
		STEP(wake_all());
#else
		/* T3_COUNT, T4_WAKE, T5_UNMARK */
		STEP(count++; mine = count);
		STEP(wake_all());
#ifdef UNMARK_ALWAYS
		STEP(mark = false);
#else
		STEP(if
		     :: count == mine -> mark = false
		     :: else -> skip
		     fi);
#endif
#endif
	:: else -> skip
	fi;
	/* acknowledged */
	atomic { nobody_missed(me); acked++ };
died:
	atomic { mine = 0; i = 0; found = false; does = false; tells = false }
}

/* When all is done and nobody was killed, the mark is there only for who
 * sleeps, and who sleeps has seen all: it would have been woken. */
active proctype Monitor()
{
	byte i;

end_monitor:
	atomic {
		acked == COMMITS && timeout;
		nobody_missed(COMMITS)
	}
}

init {
	atomic {
		byte k;
		for (k : 1 .. WATCHERS) {
			run Watcher(k)
		}
		for (k : 1 .. COMMITS) {
			run Committer(k)
		}
	}
}
