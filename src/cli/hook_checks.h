/*
 * The checks of other features that the pre-commit hook makes.
 */
#ifndef CLI_HOOK_CHECKS_H
#define CLI_HOOK_CHECKS_H

#include "features/hook/hook.h"

extern const struct hook_check hook_checks[];
extern const size_t hook_check_count;

#endif
