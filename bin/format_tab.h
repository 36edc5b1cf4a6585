/*
 * format_tab: the readers of format_tab_read.c, for the tables in
 * format_tab_write.c.
 */
#ifndef FORMAT_TAB_H
#define FORMAT_TAB_H

struct format_reader;
struct format_record;

int format_tsv_read(struct format_reader *r, struct format_record *rec);
int format_tab_read(struct format_reader *r, struct format_record *rec);
int format_ops_read(struct format_reader *r, struct format_record *rec);

#endif /* FORMAT_TAB_H */
