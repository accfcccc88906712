/*
 * Runs a command and says what it took, without an interpreter's share in it: a child's peak memory starts from that
 * of the process it was forked from, and starting one takes longer than `true` does.
 *
 *     measure REPEATS SECONDS RESULT COMMAND [ARG...]
 *
 * One line a run goes to RESULT: nanoseconds of wall time, microseconds of CPU (of the command and of all that it
 * waited for), peak KiB of the largest process, exit code (128 + signal). The command is killed after SECONDS.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t child;

static void on_alarm(int signal_number)
{
	(void)signal_number;
	kill(-child, SIGKILL);
}

static long long now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long cpu_us(const struct rusage *usage)
{
	return (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000LL + usage->ru_utime.tv_usec +
	       usage->ru_stime.tv_usec;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	FILE *result = fopen(argv[3], "w");
	if (!result)
		return 2;
	signal(SIGALRM, on_alarm);
	for (int left = atoi(argv[1]); left > 0; left--) {
		struct rusage usage;
		int status;
		long long start = now_ns();
		child = fork();
		if (child < 0)
			return 2;
		if (child == 0) {
			setpgid(0, 0);
			execvp(argv[4], argv + 4);
			_exit(127);
		}
		setpgid(child, child);
		alarm((unsigned)atoi(argv[2]));
		while (wait4(child, &status, 0, &usage) < 0)
			;
		alarm(0);
		int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		fprintf(result, "%lld %lld %ld %d\n", now_ns() - start, cpu_us(&usage), usage.ru_maxrss, code);
	}
	return fclose(result) == 0 ? 0 : 2;
}
