#include "engine/resources.h"

#include "base/proc.h"
#include "base/text.h"
#include "engine/run.h"

#include <stdlib.h>
#include <string.h>

#define GPUS_MAX 1024
#define LISTING_MAX ((size_t)1 << 20)

static uint64_t memory_of_machine(void)
{
	const char *text = sys.getenv("MLMAKE_MEMORY");
	uint64_t bytes;
	if (text && text_parse_size(text, &bytes) && bytes)
		return bytes;
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
}

void resources_init(struct resources *res, const struct project *project, unsigned slots, struct jobserver *server)
{
	*res = (struct resources){ .cpus = slots, .memory = memory_of_machine(), .server = server };
	for (size_t i = 0; i < project->pool_count; i++)
		vec_push(&res->pools, (struct pool_use){ .pool = &project->pools[i] });
}

void resources_release(struct resources *res)
{
	for (size_t i = 0; i < res->pools.len; i++)
		vec_release(&res->pools.at[i].parked.list);
	for (size_t i = 0; i < res->gpus.len; i++)
		free(res->gpus.at[i].id);
	vec_release(&res->pools);
	vec_release(&res->gpus);
	vec_release(&res->parked.list);
}

static void add_gpu(struct resources *res, const char *id, size_t len)
{
	while (len && *id == ' ') {
		id++;
		len--;
	}
	for (size_t i = 0; i < res->gpus.len; i++)
		if (strlen(res->gpus.at[i].id) == len && memcmp(res->gpus.at[i].id, id, len) == 0)
			return;
	/* -1 is how CUDA is told of none. */
	if (len && *id != '-' && res->gpus.len < GPUS_MAX)
		vec_push(&res->gpus, (struct gpu){ mem_strndup(id, len), false });
}

static void add_numbered(struct resources *res, uint64_t count)
{
	for (uint64_t i = 0; i < count && i < GPUS_MAX; i++) {
		OWNED char *id = mem_printf("%llu", (unsigned long long)i);
		add_gpu(res, id, strlen(id));
	}
}

static void add_listed(struct resources *res, const char *list)
{
	for (const char *at = list; *at; at += strspn(at, ",")) {
		size_t len = strcspn(at, ",");
		add_gpu(res, at, len);
		at += len;
	}
}

/* One line a device: "GPU 0: NVIDIA A100 (UUID: GPU-...)". */
static uint64_t ask_nvidia(void)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT, errout CLEANUP(buf_release) = BUF_INIT;
	const char *const argv[] = { "nvidia-smi", "-L", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct proc_capture capture = { .out = &out, .errout = &errout, .max = LISTING_MAX };
	spec.argv = argv;
	if (proc_run(&spec, &capture, &ignored) < 0 || capture.ret_exit != 0)
		return 0;
	uint64_t count = 0;
	for (const char *line = out.data; *line; line += strspn(line, "\n")) {
		count += text_starts(line, "GPU ");
		line += strcspn(line, "\n");
	}
	return count;
}

static void find_gpus(struct resources *res)
{
	const char *told = sys.getenv("MLMAKE_GPUS"), *visible = sys.getenv("CUDA_VISIBLE_DEVICES");
	uint64_t count;
	if (res->knows_gpus)
		return;
	res->knows_gpus = true;
	if (told && told[0] && text_parse_u64(told, &count))
		add_numbered(res, count);
	else if (told && told[0])
		add_listed(res, told);
	else if (visible)
		add_listed(res, visible);
	else
		add_numbered(res, ask_nvidia());
}

/* False if too few are free now. */
static bool take_gpus(struct resources *res, unsigned wanted, struct claim *claim)
{
	unsigned open = 0;
	for (size_t i = 0; i < res->gpus.len; i++)
		open += !res->gpus.at[i].used;
	if (open < wanted)
		return false;
	struct buf ids = BUF_INIT;
	for (size_t i = 0; i < res->gpus.len && wanted; i++) {
		if (res->gpus.at[i].used)
			continue;
		res->gpus.at[i].used = true;
		buf_addf(&ids, "%s%s", ids.len ? "," : "", res->gpus.at[i].id);
		wanted--;
	}
	claim->gpus = buf_detach(&ids);
	return true;
}

static struct pool_use *pool_of(struct resources *res, const struct target *target)
{
	for (size_t i = 0; target->settings->pool && i < res->pools.len; i++)
		if (res->pools.at[i].pool == target->settings->pool)
			return &res->pools.at[i];
	return NULL;
}

static void give_tokens(struct resources *res, struct claim *claim)
{
	for (size_t i = 0; i < claim->tokens.len; i++)
		jobserver_give(res->server, claim->tokens.at[i]);
	vec_release(&claim->tokens);
	if (claim->slot)
		res->slot_used = false;
	claim->slot = false;
}

/* All or none: nothing is held while waiting for more, or two that wait could wait for each other. */
static bool take_tokens(struct resources *res, struct claim *claim)
{
	size_t wanted = claim->cpus - !res->slot_used;
	char token;
	if (!res->server)
		return true;
	if (!res->running)
		jobserver_mend(res->server);
	while (claim->tokens.len < wanted && jobserver_take(res->server, &token))
		vec_push(&claim->tokens, token);
	res->starved = claim->tokens.len < wanted && res->running;
	if (res->starved) {
		res->nearly = claim->tokens.len > 0;
		give_tokens(res, claim);
		return false;
	}
	claim->slot = !res->slot_used;
	res->slot_used = true;
	return true;
}

static void give_gpus(struct resources *res, const char *ids)
{
	for (size_t i = 0; i < res->gpus.len; i++) {
		size_t len = strlen(res->gpus.at[i].id);
		for (const char *at = ids; *at; at += strspn(at, ",")) {
			size_t this_len = strcspn(at, ",");
			if (this_len == len && memcmp(at, res->gpus.at[i].id, len) == 0)
				res->gpus.at[i].used = false;
			at += this_len;
		}
	}
}

enum take resources_take(struct resources *res, struct node *node, struct claim *ret)
{
	const struct target *target = node->target;
	unsigned cpus = target->settings->resources.cpus ? target->settings->resources.cpus : 1;
	uint64_t memory = target->settings->resources.memory;
	*ret = (struct claim){
		.cpus = cpus < res->cpus && (!res->machine || cpus < res->machine) ? cpus : res->cpus,
		.memory = memory < res->memory ? memory : res->memory,
		.pool = pool_of(res, target),
	};
	res->starved = false;
	if (res->cpus_used + ret->cpus > res->cpus || ret->memory > res->memory - res->memory_used)
		return TAKE_WAIT;
	if (ret->pool && ret->pool->used >= ret->pool->pool->limit) {
		vec_push(&ret->pool->parked.list, node);
		return TAKE_PARKED;
	}
	if (target->settings->resources.gpus) {
		find_gpus(res);
		ret->gpu_total = (unsigned)res->gpus.len;
		ret->lacks_gpus = target->settings->resources.gpus > res->gpus.len;
		if (!ret->lacks_gpus && !take_gpus(res, target->settings->resources.gpus, ret)) {
			vec_push(&res->parked.list, node);
			return TAKE_PARKED;
		}
	}
	if (!take_tokens(res, ret)) {
		if (ret->gpus)
			give_gpus(res, ret->gpus);
		free(ret->gpus);
		return TAKE_WAIT;
	}
	res->running++;
	res->cpus_used += ret->cpus;
	res->memory_used += ret->memory;
	if (ret->pool)
		ret->pool->used++;
	return TAKE_DONE;
}

void resources_give(struct resources *res, struct claim *claim, struct node_list *ret_ready)
{
	if (!claim->cpus)
		return;
	res->running--;
	give_tokens(res, claim);
	res->cpus_used -= claim->cpus;
	res->memory_used -= claim->memory;
	if (claim->pool) {
		/* One place, one target: waking all would cost the square of their number. */
		struct node_list *parked = &claim->pool->parked;
		claim->pool->used--;
		if (parked->next < parked->list.len)
			vec_push(&ret_ready->list, parked->list.at[parked->next++]);
		if (parked->next == parked->list.len)
			parked->next = parked->list.len = 0;
	}
	if (claim->gpus) {
		give_gpus(res, claim->gpus);
		for (size_t i = 0; i < res->parked.list.len; i++)
			vec_push(&ret_ready->list, res->parked.list.at[i]);
		res->parked.list.len = 0;
	}
	free(claim->gpus);
	*claim = (struct claim){ 0 };
}
