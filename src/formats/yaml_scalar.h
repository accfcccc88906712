/*
 * What a plain scalar means: YAML 1.2.2, section 10.3.2 (core schema). For formats/yaml.c alone.
 */
#ifndef FORMATS_YAML_SCALAR_H
#define FORMATS_YAML_SCALAR_H

#include "formats/yaml.h"

/* Sets kind, boolean, integer and real from text. */
void yaml_scalar_resolve(struct yaml_node *node);

#endif
