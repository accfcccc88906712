/*
 * What running targets share: processors, memory, GPUs, and the places of named pools.
 *
 *     struct resources res;
 *     resources_init(&res, project, slots, server);
 *     switch (resources_take(&res, node, &claim)) {
 *     case TAKE_DONE:   start it; resources_give(&res, &claim, &ready) when it is over
 *     case TAKE_WAIT:   nothing more fits: try again when something is over
 *     case TAKE_PARKED: kept here until what it waits for is given back
 *     }
 *
 * Processors and memory are taken strictly in the order of the ready queue, so that a large target is not passed over for ever; one that
 * wants more than there is runs alone. Pools and GPUs hold up only those that want them. Memory: all of the machine's, or
 * MLMAKE_MEMORY ("16G"). GPUs: MLMAKE_GPUS ("2", or ids "0,3"), else our own CUDA_VISIBLE_DEVICES, else those that
 * `nvidia-smi -L` lists; looked for when the first target wants one.
 *
 * Processors are shared by the jobserver (base/jobserver.h) with what runs below targets, and with what runs beside this process where it was joined:
 * a target takes a token for each processor, but for the one slot that this process has itself. While no target runs one is started whatever the
 * jobserver says, so that there is always an end.
 */
#ifndef ENGINE_RESOURCES_H
#define ENGINE_RESOURCES_H

#include "base/jobserver.h"
#include "base/vec.h"
#include "graph/graph.h"

struct node;
struct node_list {
	VEC(struct node *) list;
	size_t next; /* those before it have been taken out */
};

struct pool_use {
	const struct pool_limit *pool;
	unsigned used;
	struct node_list parked;
};
struct gpu {
	char *id;
	bool used;
};
struct resources {
	unsigned cpus, cpus_used;
	unsigned machine;        /* processors: a target that wants all of them has all of cpus; 0: only one that wants those */
	uint64_t memory, memory_used;
	VEC(struct pool_use) pools;
	VEC(struct gpu) gpus;
	bool knows_gpus;
	struct node_list parked; /* for GPUs */
	struct jobserver *server; /* NULL: none; the caller's */
	unsigned running;        /* targets that hold a claim */
	bool slot_used;          /* the one that needs no token */
	bool starved;            /* the last TAKE_WAIT was for a token */
	bool nearly;             /* and some were there, but too few */
};

/* What one target holds. */
struct claim {
	unsigned cpus;
	uint64_t memory;
	struct pool_use *pool;
	VEC(char) tokens;
	bool slot;         /* it has the one without a token */
	char *gpus;        /* for CUDA_VISIBLE_DEVICES: "0,2"; NULL if it wants none; owned */
	unsigned gpu_total;
	bool lacks_gpus;   /* it wants more than the machine has: it cannot run, but its outputs may be restored */
};

enum take { TAKE_DONE, TAKE_WAIT, TAKE_PARKED };

void resources_init(struct resources *res, const struct project *project, unsigned slots, struct jobserver *server);
void resources_release(struct resources *res);

enum take resources_take(struct resources *res, struct node *node, struct claim *ret);
/* Appends to ret_ready those that were parked and may be tried again. The claim is empty then, and giving it again does nothing. */
void resources_give(struct resources *res, struct claim *claim, struct node_list *ret_ready);

#endif
