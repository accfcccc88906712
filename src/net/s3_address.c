#include "net/s3_address.h"

#include "base/mem.h"
#include "base/text.h"
#include "net/sigv4.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_REGION "us-east-1"
#define MAX_REGION 63 /* a label of a host name */

static bool bucket_is_host_label(const char *bucket)
{
	size_t len = strlen(bucket);
	if (len < 3 || len > 63 || bucket[0] == '-' || bucket[len - 1] == '-')
		return false;
	for (const char *c = bucket; *c; c++) {
		if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '-')
			return false;
	}
	return true;
}

/* botocore's rule: the bucket goes into the host name at AWS, where it can be a part of one, and into the path elsewhere. */
static int choose_style(struct s3_address *address, const struct aws_profile *profile, struct err *err)
{
	const char *style = aws_profile_get(profile, "s3.addressing_style");
	if (text_eq(style, "path"))
		address->virtual_host = false;
	else if (text_eq(style, "virtual"))
		address->virtual_host = true;
	else if (!style || text_eq(style, "auto"))
		address->virtual_host = !address->endpoint && bucket_is_host_label(address->bucket);
	else {
		err_set(err, ERR_CONFIG, "the AWS profile '%s' has the s3.addressing_style '%s'", profile->name, style);
		return err_hint(err, "there are auto, path and virtual; it is in %s", profile->config_path);
	}
	return 0;
}

static void make_parts(struct s3_address *address)
{
	struct buf base CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	const char *china = text_starts(address->region, "cn-") ? ".cn" : "";
	char *endpoint OWNED = address->endpoint ? mem_strdup(address->endpoint)
					    : mem_printf("%s://s3.%s.amazonaws.com%s", address->no_ssl ? "http" : "https", address->region, china);
	const char *host = strstr(endpoint, "://") + 3;
	size_t host_len = strcspn(host, "/");
	buf_add(&base, endpoint, (size_t)(host - endpoint));
	if (address->virtual_host)
		buf_addf(&base, "%s.", address->bucket);
	buf_add(&base, host, host_len);
	buf_addstr(&path, host + host_len);
	if (!address->virtual_host) {
		buf_addch(&path, '/');
		sigv4_encode(&path, address->bucket, false);
	}
	free(address->base);
	free(address->host);
	free(address->path);
	address->host = mem_strdup(strstr(base.data, "://") + 3);
	address->base = buf_detach(&base);
	address->path = buf_detach(&path);
	address->generation++;
}

/* Without a '/' at the end and the scheme's own port, which no Host header names. */
static int take_endpoint(struct s3_address *address, const char *url, const char *remote, struct err *err)
{
	bool https = text_starts(url, "https://");
	if (!https && !text_starts(url, "http://")) {
		err_set(err, ERR_CONFIG, "the endpoint '%s' of the remote '%s' is not a URL", url, remote);
		return err_hint(err, "write it as https://host or http://host:port");
	}
	if (strpbrk(url, "@?#")) {
		err_set(err, ERR_CONFIG, "the endpoint of the remote '%s' holds a user name, a query or a fragment", remote);
		return err_hint(err, "write it as https://host; keys go to access_key_id and secret_access_key");
	}
	struct buf out = BUF_INIT;
	const char *host = strstr(url, "://") + 3;
	size_t host_len = strcspn(host, "/");
	const char *port = https ? ":443" : ":80";
	size_t port_len = strlen(port);
	if (host_len > port_len && strncmp(host + host_len - port_len, port, port_len) == 0)
		buf_addf(&out, "%.*s%s", (int)(host + host_len - port_len - url), url, host + host_len);
	else
		buf_addstr(&out, url);
	while (out.len > 0 && out.data[out.len - 1] == '/')
		buf_truncate(&out, out.len - 1);
	address->endpoint = buf_detach(&out);
	return 0;
}

static int take_url(struct s3_address *address, const char *url, const char *remote, struct err *err)
{
	const char *bucket = url + strlen("s3://");
	size_t len = strcspn(bucket, "/");
	if (len == 0 || len > 255) {
		err_set(err, ERR_CONFIG, "the url '%s' of the remote '%s' names no bucket", url, remote);
		return err_hint(err, "write it as s3://bucket/prefix");
	}
	address->bucket = mem_strndup(bucket, len);
	const char *prefix = bucket + len;
	while (*prefix == '/')
		prefix++;
	address->prefix = mem_strdup(prefix);
	for (size_t end = strlen(prefix); end > 0 && prefix[end - 1] == '/'; end--)
		address->prefix[end - 1] = '\0';
	return 0;
}

bool s3_region_is_sane(const char *region)
{
	size_t len = strlen(region);
	return len && len <= MAX_REGION && region[0] != '-' && region[len - 1] != '-' &&
	       region[strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")] == '\0';
}

static int take_region(struct s3_address *address, const struct remote_spec *spec, const struct aws_profile *profile, const char *remote,
		       struct err *err)
{
	const struct {
		const char *value, *from;
	} places[] = {
		{ spec->region, "the remote's region" },
		{ aws_env("AWS_DEFAULT_REGION"), "AWS_DEFAULT_REGION" },
		{ aws_env("AWS_REGION"), "AWS_REGION" },
		{ aws_profile_get(profile, "region"), "the region of the AWS profile" },
		{ DEFAULT_REGION, "" },
	};
	size_t i = 0;
	while (!places[i].value || !*places[i].value)
		i++;
	address->region = mem_strdup(places[i].value);
	if (s3_region_is_sane(address->region))
		return 0;
	err_set(err, ERR_CONFIG, "'%s' is no region, for the remote '%s'", address->region, remote);
	return err_hint(err, "%s says it; write it as AWS does: eu-central-1", places[i].from);
}

int s3_address_make(const struct remote_spec *spec, const struct aws_profile *profile, const char *remote, struct s3_address *ret,
		    struct err *err)
{
	const char *endpoint = spec->endpoint_url ? spec->endpoint_url : aws_profile_endpoint(profile, "s3");
	*ret = (struct s3_address){ .no_ssl = spec->no_ssl };
	if (take_url(ret, spec->url, remote, err) < 0 || (endpoint && take_endpoint(ret, endpoint, remote, err) < 0) ||
	    take_region(ret, spec, profile, remote, err) < 0 || choose_style(ret, profile, err) < 0)
		return -1;
	make_parts(ret);
	return 0;
}

void s3_address_go_to(struct s3_address *address, const char *region)
{
	free(address->region);
	address->region = mem_strdup(region);
	make_parts(address);
}

void s3_address_release(struct s3_address *address)
{
	free(address->bucket);
	free(address->prefix);
	free(address->region);
	free(address->endpoint);
	free(address->base);
	free(address->host);
	free(address->path);
}
