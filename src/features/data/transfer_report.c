#include "features/data/transfer_report.h"

#include "base/mem.h"
#include "base/text.h"

#include <string.h>

void report_failed_for(struct data_transfer_report *report, const char *name, const char *why)
{
	strlist_take(&report->failed, mem_printf("%s: %s", name, why));
}

void report_stopped(struct data_transfer_report *report, const char *name)
{
	strlist_add(&report->stopped, name);
}

void report_hint(struct strlist *hints, const struct remote_item *item)
{
	if (item->ret_err.hint && !strlist_has(hints, item->ret_err.hint))
		strlist_add(hints, item->ret_err.hint);
}

void report_failed(struct data_transfer_report *report, const char *name, const struct remote_item *item)
{
	const struct err *why = &item->ret_err;
	if (item->ret_state == REMOTE_PENDING) {
		report_stopped(report, name);
		return;
	}
	report_failed_for(report, name, why->message ? why->message : "failed");
	report_hint(&report->hints, item);
}

void report_ended_by(struct data_transfer_report *report, const struct err *err)
{
	char *why OWNED = mem_printf(": %s", err->message);
	size_t kept = 0;
	for (size_t i = 0; i < report->failed.len; i++) {
		char *text = report->failed.at[i];
		if (!text_ends(text, why)) {
			report->failed.at[kept++] = text;
			continue;
		}
		text[strlen(text) - strlen(why)] = '\0';
		strlist_take(&report->stopped, text);
	}
	report->failed.len = kept;
	if (!kept && !report->missing.len)
		strlist_release(&report->hints);
}

void data_transfer_report_release(struct data_transfer_report *report)
{
	struct strlist *lists[] = { &report->recorded, &report->planned, &report->missing, &report->damaged,
				    &report->failed, &report->hints, &report->stopped, &report->broken };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		strlist_release(lists[i]);
	free(report->remote);
	report->remote = NULL;
}
