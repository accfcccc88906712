/*
 * The scripts by which shells ask `mlmake completion words` for completions.
 */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

/* What "bash", "zsh" or "fish" should read; NULL for another name. */
const char *completion_script(const char *shell);

#endif
