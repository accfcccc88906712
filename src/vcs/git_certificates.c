/*
 * libgit2 that is built with mbed TLS (Debian's, Ubuntu's) reads the certificates of the whole system when it is initialised: half of the time that a
 * hook takes, and nothing here lets it reach a network. The program's own functions are found before a library's, so this one is asked
 * instead; the Makefile exports it. A libcurl that uses mbed TLS gets what it asks for.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef int parse_file_fn(void *chain, const char *path);

#define NOT_READ (-0x2900) /* MBEDTLS_ERR_X509_FILE_IO_ERROR */

parse_file_fn mbedtls_x509_crt_parse_file;

int mbedtls_x509_crt_parse_file(void *chain, const char *path)
{
	/* A handle's symbols are those of its library and of what that needs; the program's are not among them. */
	void *curl = dlopen(LIBCURL_SONAME, RTLD_NOW | RTLD_NOLOAD); /* NULL unless it is in use */
	void *symbol = curl ? dlsym(curl, "mbedtls_x509_crt_parse_file") : NULL;
	parse_file_fn *real = NULL;
	memcpy(&real, &symbol, sizeof(symbol));
	int result = real ? real(chain, path) : NOT_READ;
	if (curl)
		dlclose(curl);
	return result;
}
