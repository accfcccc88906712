#include "formats/dos2unix.h"

#include <stdbool.h>
#include <string.h>

#define TEXT_LOOKED_AT 512u

static bool is_text(const uint8_t *bytes, size_t len)
{
	size_t odd = 0;
	if (len > TEXT_LOOKED_AT)
		len = TEXT_LOOKED_AT;
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\0')
			return false;
		odd += !((bytes[i] >= 32 && bytes[i] <= 126) || strchr("\n\r\t\f\b", bytes[i]));
	}
	return len == 0 || (double)odd / (double)len <= 0.30;
}

size_t dos2unix_chunk(uint8_t *bytes, size_t len)
{
	size_t to = 0;
	if (!is_text(bytes, len))
		return len;
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\r' && i + 1 < len && bytes[i + 1] == '\n')
			continue;
		bytes[to++] = bytes[i];
	}
	return to;
}
