/*
 * How `mlmake graph` and `mlmake why A B` show dependencies.
 */
#ifndef CLI_EDGES_H
#define CLI_EDGES_H

#include "cli/cli.h"
#include "formats/json.h"
#include "graph/graph.h"

/* {"from": "train", "to": "prepare", "kind": "input", "input": "build/clean.csv", "file": "mlmake.yaml", "line": 9}: from depends on to. */
void edges_put_json(struct json_writer *w, const struct project *project, const struct target *from, const struct edge *edge);

/* Explains how one target depends on the other, in either direction. The exit code: 0, or 1 if neither does. */
int edges_explain(struct cli *cli, const struct project *project, const char *first, const char *second, struct err *err);

#endif
