/*
 * The rule of acceptance: what may follow what, by its contents and the
 * history of epochs.
 */
#include "shipped.h"
#include "ship/ship.h"

/*
 * Epoch 1: a 1..20, b 21..40, c 41..60, where the next promotion was.
 * Epoch 2: d 61..80.  lost: 61..65 of epoch 1, by the old primary.  other:
 * 21..40 of another history.
 */
static struct shipped a, b, c, d, lost, other, overlap, wide;
static struct kv_position at0, at20, at40, at60, at80, old60;
static struct kv_history one, two;

static struct kv_accept
judge(const struct shipped *s, struct kv_position at,
    const struct kv_history *h)
{
	struct kv_accept_to to = { .at = at, .history = h };
	struct kv_image img;
	struct kv_accept v;

	memcpy(to.db, shipped_ident.id, sizeof(to.db));
	kv_image_scan(&img, s->b, s->len);
	kv_accept(&img, &to, &v);
	return v;
}

/* The class that it is reported as. */
static int
class(const struct shipped *s, struct kv_position at,
    const struct kv_history *h)
{
	struct kv_accept_to to = { .at = at, .history = h };
	struct kv_accept v = judge(s, at, h);
	struct kv_env env = { "" };
	struct kv_image img;
	int rc;

	memcpy(to.db, shipped_ident.id, sizeof(to.db));
	kv_image_scan(&img, s->b, s->len);
	rc = kv_accept_fail(&env, &v, &img, &to, "it", "here");
	expect(rc == 0 || env.msg[0] != '\0');
	return kv_ship_exit(rc);
}

static int
applies(const struct shipped *s, struct kv_position at,
    const struct kv_history *h, uint64_t first, uint64_t last)
{
	struct kv_accept v = judge(s, at, h);

	return v.verdict == KV_ACCEPT_APPLY && v.first == first &&
	    v.last == last && v.off == s->record[first - s->first] &&
	    v.end == s->record[last - s->first + 1];
}

static void
make_histories(void)
{
	struct kv_position p = at0 = shipped_origin(), q;

	shipped_history(&one);
	shipped_history(&two);
	shipped_make(&a, &p, 20, 1, 'a');
	at20 = q = p;
	shipped_make(&other, &q, 20, 1, 'X');
	shipped_make(&b, &p, 20, 1, 'b');
	q = at20;
	shipped_make(&wide, &q, 45, 0, 'b');	/* 21..65 by one writer */
	at40 = p;
	shipped_make(&c, &p, 20, 1, 'c');
	old60 = q = p;
	shipped_make(&lost, &q, 5, 1, 'l');
	shipped_promote(&two, &p, 0x2222222222222222u);
	at60 = p;
	shipped_make(&d, &p, 20, 1, 'd');
	at80 = p;
}

static void
test_order(void)
{
	expect(applies(&a, at0, &one, 1, 20));
	expect(applies(&b, at20, &one, 21, 40));
	expect(judge(&a, at20, &one).verdict == KV_ACCEPT_SKIP);
	expect(judge(&a, at40, &one).verdict == KV_ACCEPT_SKIP);
	expect(class(&a, at20, &one) == 0);
	tap_report("in order: applied; a repeat: skipped");
	expect(judge(&c, at20, &one).verdict == KV_ACCEPT_GAP);
	expect(judge(&c, at20, &one).seq == 21);
	expect(class(&c, at20, &one) == 81);
	tap_report("later first: a gap, naming the first missing commit");
	expect(applies(&c, (struct kv_position){ .epoch = 0 }, &one, 41, 60));
	tap_report("where nothing is, anything may be the first");
}

static void
test_foreign(void)
{
	struct shipped s = a;
	struct kv_segment_head h = a.head;

	h.id[0] ^= 1;
	kv_segment_head_encode(s.b, &h);
	expect(judge(&s, at0, &one).verdict == KV_ACCEPT_WRONG_DB);
	expect(class(&s, at0, &one) == 83);
	tap_report("another database: wrong-db");
	expect(judge(&d, at60, &one).verdict == KV_ACCEPT_WAIT);
	expect(judge(&d, old60, &one).theirs == 2);
	expect(class(&d, old60, &one) == 75);
	tap_report("an epoch whose file is not here: waiting");
}

static void
test_torn(void)
{
	struct shipped s = b;
	uint64_t off;

	s.len = s.record[12] + 17;
	expect(applies(&s, at20, &one, 21, 32));
	expect(judge(&s, at40, &one).verdict == KV_ACCEPT_SHORT);
	expect(class(&s, at40, &one) == 75);
	s.len = 100;
	expect(judge(&s, at20, &one).verdict == KV_ACCEPT_SHORT);
	off = b.record[12] + 50;
	s = b;
	s.b[off] ^= 4;
	expect(applies(&s, at20, &one, 21, 32));
	expect(judge(&s, at40, &one).verdict == KV_ACCEPT_CORRUPT);
	expect(class(&s, at40, &one) == 80);
	s.b[0] ^= 1;
	expect(judge(&s, at20, &one).verdict == KV_ACCEPT_CORRUPT);
	tap_report("torn or damaged: whole commits before it, and its name");
}

static void
test_fork(void)
{
	struct kv_position p = at20, q;
	struct shipped s;
	struct kv_history h;

	expect(judge(&other, at40, &one).verdict == KV_ACCEPT_FORK);
	expect(judge(&other, at40, &one).seq == 40);
	expect(judge(&other, at40, &one).ours == at40.chain);
	expect(judge(&other, at40, &one).theirs == other.chain);
	expect(class(&other, at40, &one) == 82);
	p.chain ^= 1;
	expect(judge(&b, p, &one).verdict == KV_ACCEPT_FORK);
	tap_report("other bytes under the same numbers: a fork");
	/* A second promotion to the same number. */
	q = old60;
	shipped_history(&h);
	shipped_promote(&h, &q, 0x3333333333333333u);
	shipped_make(&s, &q, 3, 1, 's');
	expect(judge(&s, at60, &two).verdict == KV_ACCEPT_FORK);
	expect(class(&s, at60, &two) == 82);
	expect(judge(&d, q, &two).verdict == KV_ACCEPT_FORK);
	free(h.v);
	tap_report("two promotions to the same number: a fork");
	/* A segment of epoch 2 that does not begin where it began. */
	q = at60;
	q.seq = 40;
	q.chain = at40.chain;
	shipped_make(&s, &q, 3, 1, 's');
	expect(judge(&s, at60, &two).verdict == KV_ACCEPT_FORK);
	q = at60;
	q.chain ^= 1;
	shipped_make(&s, &q, 3, 1, 's');
	expect(judge(&s, at60, &two).verdict == KV_ACCEPT_FORK);
	tap_report("an epoch that begins elsewhere: a fork");
}

static void
test_orphans(void)
{
	struct kv_accept v = judge(&lost, at60, &two);
	struct kv_position p = old60;

	expect(v.verdict == KV_ACCEPT_ORPHANED);
	expect(v.orphan_first == 61 && v.orphan_last == 65);
	expect(class(&lost, at60, &two) == 88);
	expect(judge(&lost, at80, &two).verdict == KV_ACCEPT_ORPHANED);
	expect(judge(&lost, p, &two).verdict == KV_ACCEPT_ORPHANED);
	tap_report("the old primary's commits are orphans, never a repeat");
	shipped_make(&lost, &p, 5, 1, 'l');
	v = judge(&d, p, &two);
	expect(v.verdict == KV_ACCEPT_AHEAD);
	expect(v.orphan_first == 61 && v.orphan_last == 65);
	expect(class(&d, p, &two) == 86);
	tap_report("who has taken them is ahead");
	expect(applies(&d, at60, &two, 61, 80));
	p = old60;
	expect(applies(&d, p, &two, 61, 80));
	expect(judge(&c, at60, &two).verdict == KV_ACCEPT_SKIP);
	expect(judge(&c, at80, &two).verdict == KV_ACCEPT_SKIP);
	expect(applies(&c, at40, &two, 41, 60));
	tap_report("the line that won goes on");
}

/* A segment that reaches beyond a promotion: what precedes it still counts. */
static void
test_across(void)
{
	struct kv_position p = at40, q;
	struct kv_history h;
	struct kv_accept v;
	uint64_t off, chain;
	struct kv_image img;

	shipped_history(&h);
	kv_image_scan(&img, wide.b, wide.len);
	expect(kv_image_at(&img, 60, &off, &chain) == 0);
	q = (struct kv_position){ 1, p.nonce, 60, chain };
	shipped_promote(&h, &q, 0x4444444444444444u);
	v = judge(&wide, at20, &h);
	expect(v.verdict == KV_ACCEPT_APPLY && v.first == 21 && v.last == 60);
	expect(v.orphan_first == 61 && v.orphan_last == 65);
	expect(v.end == wide.record[40]);
	expect(judge(&wide, q, &h).verdict == KV_ACCEPT_ORPHANED);
	/* The same numbers, but not the commit that the epoch began behind. */
	expect(judge(&wide, at20, &two).verdict == KV_ACCEPT_FORK);
	free(h.v);
	tap_report("beyond a promotion: up to it, and the rest are orphans");
}

static void
test_overlap(void)
{
	struct kv_position p = at20, ten;
	struct kv_image img;
	uint64_t off;

	kv_image_scan(&img, b.b, b.len);
	ten = at20;
	ten.seq = 30;
	expect(kv_image_at(&img, 30, &off, &ten.chain) == 0);
	expect(applies(&b, ten, &one, 31, 40));
	ten.chain ^= 1;
	expect(judge(&b, ten, &one).verdict == KV_ACCEPT_FORK);
	shipped_make(&overlap, &p, 0, 1, 'o');
	expect(judge(&overlap, at20, &one).verdict == KV_ACCEPT_SKIP);
	expect(judge(&overlap, at0, &one).verdict == KV_ACCEPT_GAP);
	tap_report("cut differently: the new part; empty: skipped");
}

int
main(void)
{
	tap_start("accept");
	make_histories();
	test_order();
	test_foreign();
	test_torn();
	test_fork();
	test_orphans();
	test_across();
	test_overlap();
	free(one.v);
	free(two.v);
	return tap_end();
}
