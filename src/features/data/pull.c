/*
 * data pull: fetch, then checkout. A copy that turns out damaged on the way out of the cache is moved aside and fetched once more.
 */
#include "base/text.h"
#include "features/data/checkout.h"
#include "features/data/import.h"
#include "features/data/rwlock.h"

static int checkout_chosen(struct data_repo *repo, const struct selection *chosen, const struct data_checkout_options *options,
			   struct data_checkout_report *ret, struct damaged_ids *damaged, struct err *err)
{
	for (size_t i = 0; i < chosen->list.len; i++) {
		const struct selected *selected = &chosen->list.at[i];
		bool partial = tracked_is_partial(selected->tracked);
		int status = partial ? import_check_out_partial(repo, selected->tracked, options, ret, err)
				     : checkout_one(repo, selected, options, ret, damaged, err);
		if (status < 0)
			return -1;
	}
	return 0;
}

static int set_aside(struct data_repo *repo, const struct damaged_ids *damaged, struct err *err)
{
	for (size_t i = 0; i < damaged->list.len; i++) {
		struct buf where CLEANUP(buf_release) = BUF_INIT;
		if (odb_quarantine(&repo->odb, &damaged->list.at[i], &where, err) < 0)
			return -1;
		repo_warn(repo, "a damaged object of the cache was moved to %s", where.data);
	}
	return 0;
}

static int pull_held(struct data_repo *repo, const struct held_outs *targets, const struct data_transfer_options *transfer,
		     const struct data_checkout_options *checkout, struct data_transfer_report *ret_transfer,
		     struct data_checkout_report *ret_checkout, struct err *err)
{
	struct damaged_ids damaged = { .list = { 0 } };
	int status = checkout_chosen(repo, &targets->chosen, checkout, ret_checkout, &damaged, err);
	if (status == 0 && damaged.list.len)
		status = set_aside(repo, &damaged, err);
	if (status == 0 && damaged.list.len) {
		data_transfer_report_release(ret_transfer);
		data_checkout_report_release(ret_checkout);
		*ret_checkout = (struct data_checkout_report){ .files = 0 };
		status = data_fetch(repo, targets->paths, targets->count, transfer, ret_transfer, err);
		if (status == 0)
			status = checkout_chosen(repo, &targets->chosen, checkout, ret_checkout, NULL, err);
	}
	vec_release(&damaged.list);
	outs_add_broken(repo, &targets->outs, targets->paths, targets->count, &ret_checkout->broken);
	return status;
}

int data_pull(struct data_repo *repo, const char *const *paths, size_t count, const struct data_transfer_options *options,
	      const struct data_checkout_options *checkout, struct data_transfer_report *ret_transfer,
	      struct data_checkout_report *ret_checkout, struct err *err)
{
	struct held_outs targets CLEANUP(held_outs_release) = HELD_OUTS_INIT;
	struct data_transfer_options transfer = *options;
	transfer.checks_out = true;
	*ret_checkout = (struct data_checkout_report){ .files = 0 };
	if (data_fetch(repo, paths, count, &transfer, ret_transfer, err) < 0 ||
	    held_outs_take(repo, paths, count, &targets, err) < 0)
		return -1;
	repo_unlock(repo);
	int status = pull_held(repo, &targets, &transfer, checkout, ret_transfer, ret_checkout, err);
	struct err late CLEANUP(err_release) = ERR_INIT;
	if (repo_save_hashes(repo, &late) < 0)
		repo_warn(repo, "the stat records could not be saved: %s", late.message);
	return status;
}
