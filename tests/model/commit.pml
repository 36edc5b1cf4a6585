/*
 * commit: writers that die at every step, the repair by the next one, and a
 * reader; full and none commits mixed.  Each commit writes keys a and b.
 *
 * The log is an array of cells: a record of sequence n stands in cell n,
 * because what a dead writer left torn is made zero and used again.
 *
 * Explored: an acknowledged durable commit is on disk with all before it
 * and is never overwritten (P1); a and b are seen together (P2); a snapshot
 * does not change, and a reader has no step that waits (P3); somebody can
 * always go on (P5); what an acknowledged commit wrote is seen by readers
 * that start later, `visible` never goes back, and no full commit is seen
 * before it is on disk (P9; with FULL_ONLY: none at all).  Who was answered
 * under WRITER, as by a false condition, sees afterwards what it was told of.
 *
 * Broken variants:
 *   CLEAR_EARLY	W6 before W4
 *   CLEAR_BEFORE_TAIL	W6 before W5
 *   INSERT_EARLY	W4 before W3
 *   REPAIR_IF_DEAD	repair if the owner died, not if `writing` is set
 *   ZERO_ALWAYS	a whole record is not rolled forward
 *   FULL_TO_LATE	`full_to` after `appended`
 *   SYNCED_FIRST	`synced` is raised before `visible`: who finds itself
 *			synced answers, and is not visible yet
 *   SETTLE_DISK	an answer waits for the disk, and not for `visible`
 *   NONE_DIRECT	none does not queue behind full (B8)
 *   VISIBLE_STORE	`visible` is stored, not raised (A10)
 *   VISIBLE_FIRST	`visible` before fdatasync
 *   SYNC_OWN_END	`end` is read after fdatasync
 */
#ifndef WRITERS
#define WRITERS	3
#endif
#ifndef KILLS
#define KILLS	2
#endif
#define ZERO	0
#define TORN	1
#define WHOLE	2

byte cell[WRITERS + 1];		/* the log, as the kernel has it */
bool disk[WRITERS + 1];		/* whole on disk as well */
bool is_full[WRITERS + 1];	/* written by a full commit */
bool idx[2 * (WRITERS + 1)];	/* chains of the two keys */
#define KEY_A(n) idx[n]
#define KEY_B(n) idx[WRITERS + 1 + (n)]

byte writer, syncer;		/* lock words; see lock.pml */
byte writing;			/* a flag, stored after `off` */
byte off;
byte tail, appended, synced, visible, full_to;

bool dead[WRITERS + 1];
byte kills = KILLS;
byte acked;			/* highest sequence acknowledged */

#define STEP(x) atomic { x; if :: true :: kills > 0 -> kills--; goto died fi }
#define RAISE(a, b) a = ((a) > (b) -> (a) : (b))

inline insert(key, n)
{
	assert(cell[n] == WHOLE);
	idx[key * (WRITERS + 1) + n] = true
}

inline zero(n)
{
	assert(!KEY_A(n) && !KEY_B(n));
	assert(n > appended && n > visible && n > acked);
	cell[n] = ZERO;
	disk[n] = false;
	is_full[n] = false
}

inline write_disk()
{
	i = 1;
	do
	:: i > WRITERS -> break
	:: i <= WRITERS -> disk[i] = (cell[i] == WHOLE); i++
	od;
	i = 0
}

inline publish(n)
{
#ifdef VISIBLE_STORE
	assert(n >= visible);
	visible = n
#else
	RAISE(visible, n)
#endif
}

inline acknowledge()
{
	RAISE(acked, seq);
	assert(visible >= seq);
	if
	:: lasting ->
		i = 1;
		do
		:: i > seq -> break
		:: i <= seq -> assert(disk[i] && cell[i] == WHOLE); i++
		od;
		i = 0
	:: else
	fi
}

/* What was read is seen, and on disk if its writer asked for that. */
inline settled()
{
	assert(visible >= seq);
	i = 1;
	do
	:: i > seq -> break
	:: i <= seq -> assert(!is_full[i] || disk[i]); i++
	od;
	i = 0
}

proctype Writer(byte me)
{
	byte seq, end, i;
	bool lasting = true, heir;

	/* The first writes full, the second none, the third either. */
#ifndef FULL_ONLY
	if
	:: me != 2
	:: me != 1 -> lasting = false
	fi;
#endif
	/* W1_LOCK */
	STEP(writer == 0 || dead[writer];
	     heir = (writer != 0); dead[writer] = false; writer = me);
	/* Repair: by what `writing` says, whoever left it. */
#ifdef REPAIR_IF_DEAD
	if
	:: writing && heir ->
#else
	if
	:: writing ->
#endif
		if
#ifndef ZERO_ALWAYS
		:: cell[off] == WHOLE ->
			STEP(insert(0, off));
			STEP(insert(1, off));
			STEP(RAISE(tail, off));
			STEP(RAISE(appended, off))
		:: cell[off] != WHOLE ->
#else
		:: true ->
#endif
			STEP(zero(off))
		fi;
		STEP(writing = 0; off = 0)
	:: else
	fi;
	/* Not a commit, but an answer about all that is there: kv_settle() */
	if
	:: true
	:: me == 1 ->
		STEP(seq = tail; heir = false);
		STEP(assert(writer == me); writer = 0);
		STEP(end = (full_to > seq -> seq : full_to));
		if
		:: end > synced ->
			STEP(end = appended);
			STEP(write_disk());
			STEP(publish(end));
			STEP(RAISE(synced, end))
		:: else
		fi;
#ifndef SETTLE_DISK
		STEP(RAISE(visible, seq));
#endif
		STEP(settled());
		goto done
	fi;
	/* W2_MARK */
	STEP(seq = tail + 1; off = seq; heir = false);
#ifndef FULL_TO_LATE
	if
	:: lasting -> STEP(RAISE(full_to, seq))
	:: else
	fi;
#endif
	STEP(writing = 1);
	/* W3_APPEND: a torn record first, then a whole one, or an error */
#ifdef INSERT_EARLY
	STEP(KEY_A(seq) = true);
#endif
	STEP(zero(seq); cell[seq] = TORN; is_full[seq] = lasting);
	STEP(cell[seq] = WHOLE);
#ifdef CLEAR_EARLY
	STEP(writing = 0);
#endif
	/* An error, and whatever it left: the next writer decides. */
	if
	:: true
	:: atomic { kills > 0 -> kills--;
		if :: cell[seq] = TORN :: true fi; goto refused }
	fi;
	/* W4_INSERT */
	STEP(insert(0, seq));
	if
	:: true
	:: atomic { kills > 0 -> kills--; goto refused }
	fi;
	STEP(insert(1, seq));
#ifdef CLEAR_BEFORE_TAIL
	STEP(writing = 0);
#endif
	/* W5_TAIL, W5_APPENDED */
	STEP(tail = seq);
	STEP(appended = seq);
	/* W6_CLEAR */
	STEP(writing = 0; off = 0);
#ifdef FULL_TO_LATE
	if
	:: lasting -> STEP(RAISE(full_to, seq))
	:: else
	fi;
#endif
	/* W7_UNLOCK */
	STEP(assert(writer == me); writer = 0);
	/* N1_ASK, N2_VISIBLE */
	if
	:: !lasting ->
		STEP(end = full_to);
		if
#ifdef NONE_DIRECT
		:: true ->
#else
		:: end <= synced ->
#endif
			STEP(end = 0; RAISE(visible, seq));
			goto answer
#ifndef NONE_DIRECT
		:: end > synced
#endif
		fi
	:: else
	fi;
	/* S1_LOCK, or by itself after 100 ms */
	STEP(end = 0; if
	     :: syncer == 0 || dead[syncer] ->
		dead[syncer] = false; syncer = me
	     :: syncer != 0 && !dead[syncer] -> skip
	     fi);
	if
	:: synced < seq ->
#ifndef SYNC_OWN_END
		STEP(end = appended);		/* S2_END */
#endif
#ifdef VISIBLE_FIRST
		STEP(RAISE(visible, end));
#endif
		STEP(write_disk());		/* S3_SYNC; see sync.pml */
#ifdef SYNC_OWN_END
		STEP(end = appended);
#endif
		/* S4_PUBLISH: who sees `synced` has seen `visible` */
#ifndef SYNCED_FIRST
		STEP(publish(end));
#endif
		STEP(RAISE(synced, end));
#ifdef SYNCED_FIRST
		STEP(publish(end));
#endif
		STEP(end = 0)
	:: else
	fi;
	/* S6_UNLOCK */
	STEP(if :: syncer == me -> syncer = 0 :: else fi);
answer:
	atomic { acknowledge(); goto done };
refused:
	atomic { writer = 0; goto done };
died:
	dead[me] = (writer == me || syncer == me);
done:
	atomic { seq = 0; end = 0; i = 0; lasting = false; heir = false }
}

/* The newest version at or below v that the chain of a key holds. */
inline look(key)
{
	a = v;
	do
	:: a > 0 && !idx[key * (WRITERS + 1) + a] -> a--
	:: a == 0 || idx[key * (WRITERS + 1) + a] -> break
	od;
	assert(a == v);
	a = 0
}

/* No step of a reader depends on anybody else's. */
active proctype Reader()
{
	byte v, a, i;

	atomic {	/* R1_VISIBLE */
		v = visible;
		i = 1;
		do
		:: i > v -> break
		:: i <= v ->
#ifdef FULL_ONLY
			assert(disk[i]);
#else
			assert(disk[i] || !is_full[i]);
#endif
			i++
		od;
		i = 0
	};
	/* R3_SEARCH: at any time, as long as the snapshot lives */
	d_step { look(0); look(1); v = 0 }
}

init {
	atomic {
		byte k;
		for (k : 1 .. WRITERS) {
			run Writer(k)
		}
	}
}
