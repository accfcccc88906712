#include "features/data/transfer_report.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "features/data/repo.h"

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

void report_withheld(struct data_transfer_report *report, const struct data_repo *repo, const struct objects *objects,
		     const struct object_dir *dir)
{
	const char *name = objects->list.at[dir->manifest].name;
	struct buf text = BUF_INIT;
	size_t lacking = 0, not_asked_for = 0, nowhere = 0;
	for (size_t i = 0; i < dir->members.len; i++) {
		const struct object *member = &objects->list.at[dir->members.at[i]];
		lacking += !member->on_remote;
		not_asked_for += !member->on_remote && !member->wanted;
		nowhere += !member->on_remote && !member->wanted && !member->cached;
	}
	buf_addf(&text, "%s: %zu of its ", name, lacking);
	text_add_count(&text, dir->members.len);
	buf_addf(&text, " members %s not there", lacking == 1 ? "is" : "are");
	if (not_asked_for)
		buf_addf(&text, "; this push was of other paths%s", nowhere ? ", and the cache lacks some of them, too" : "");
	strlist_take(&report->withheld, buf_detach(&text));
	if (!not_asked_for || nowhere)
		return;
	char *bare OWNED = mem_strndup(name, strlen(name) - 1);
	char *abs OWNED = repo_abs(repo, bare);
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	path_relative(&path, repo->cwd, abs);
	buf_addstr(&text, "to send the rest: mlmake data push ");
	text_add_shell_quoted(&text, path.data);
	strlist_take(&report->hints, buf_detach(&text));
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
				    &report->failed, &report->withheld, &report->hints, &report->stopped, &report->broken };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		strlist_release(lists[i]);
	free(report->remote);
	report->remote = NULL;
}
