/*
 * insert: one commit that puts the same key twice goes into the key's chain
 * of versions, is cut short by deaths, and is inserted again (B10).
 *
 * A node is taken from the arena by moving its end, then filled, then
 * linked by one store.  An operation is skipped if the head of the chain is
 * as new or newer by (sequence, operation).
 *
 * Explored: a reader finds the last operation of the commit it reads at,
 * whatever was repeated (P2), the chain falls and ends (P3), and a node
 * that is linked is never handed out again.
 *
 * Broken variants:
 *   SEQ_ONLY	skipped by sequence alone
 *   ALWAYS	never skipped
 *   LINK_FIRST	linked before it is filled
 *   END_LATE	the arena's end moves after the node is linked
 */
#define WRITERS	3
#ifndef KILLS
#define KILLS	2
#endif
#define NODES	(2 * WRITERS + KILLS + 1)

typedef Node {
	byte version;		/* 2 * sequence + operation (0 or 1) */
	byte next
};
Node node[NODES];		/* 0 is none */
byte end = 1;
byte head;

byte writer, writing, appended, visible;
bool dead[WRITERS + 1];
byte kills = KILLS;

#define STEP(x) atomic { x; if :: true :: kills > 0 -> kills--; goto died fi }
#if defined(ALWAYS)
#define THERE(v) false
#elif defined(SEQ_ONLY)
#define THERE(v) (node[head].version / 2 == (v) / 2)
#else
#define THERE(v) (node[head].version >= (v))
#endif

proctype Writer(byte me)
{
	byte version, seq, n;
	bool repair;

	STEP(writer == 0 || dead[writer]; writer = me);	/* W1_LOCK */
	repair = (writing != 0);
	seq = (repair -> writing : appended + 1);
insert:
	STEP(writing = seq);				/* W2_MARK */
	version = 2 * seq;
	do
	:: version / 2 == seq && !THERE(version) ->
		/* I1_TAKE, I2_FILL, I3_LINK */
		n = end;
		assert(n < NODES);
#ifndef END_LATE
		STEP(end = n + 1);
#endif
#ifdef LINK_FIRST
		STEP(node[n].next = head);
		STEP(head = n);
		STEP(node[n].version = version);
#else
		STEP(node[n].version = version; node[n].next = head);
		STEP(head = n);
#endif
#ifdef END_LATE
		STEP(end = n + 1);
#endif
		version++
	:: version / 2 == seq && THERE(version) -> version++
	:: version / 2 != seq -> break
	od;
	STEP(appended = seq);				/* W5_APPENDED */
	STEP(writing = 0);				/* W6_CLEAR */
	STEP(visible = seq);
	if
	:: repair ->					/* now our own */
		repair = false;
		seq++;
		goto insert
	:: else
	fi;
	atomic { writer = 0; goto done };		/* W7_UNLOCK */
died:
	dead[me] = true;
done:
	atomic { version = 0; seq = 0; n = 0; repair = false }
}

active proctype Reader()
{
	byte v, n, older;
	do
	:: v = visible;
	   n = head;
	   /* One step for each node: the chain may grow meanwhile. */
	   do
	   :: n != 0 && node[n].version / 2 > v ->
		atomic {
			older = node[n].next;
			assert(older == 0 ||
			    node[older].version < node[n].version);
			n = older;
			older = 0
		}
	   :: else -> break
	   od;
	   atomic {
		assert(v == 0 || node[n].version == 2 * v + 1);
		v = 0;
		n = 0
	   }
	od
}

init {
	atomic {
		byte k;
		for (k : 1 .. WRITERS) {
			run Writer(k)
		}
	}
}
