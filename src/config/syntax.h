/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the config room: texts with a syntax of their own, as checks for rows of the schema. Each
 * returns 0, or -EINVAL with a message that doesn't name the option.
 */
#ifndef VMM_CONFIG_SYNTAX_H
#define VMM_CONFIG_SYNTAX_H

#include "base/compiler.h"
#include "base/err.h"

int syntax_check_mac(const char *text, struct err *err) must_check;
int syntax_check_interface(const char *text, struct err *err) must_check; /* "tap0" */
int syntax_check_stream(const char *text, struct err *err) must_check;	  /* "unix:PATH" */
int syntax_check_publish(const char *text, struct err *err) must_check;
int syntax_check_virtio_type(const char *text, struct err *err) must_check; /* "blk", "4" */
int syntax_check_pin(const char *text, struct err *err) must_check;	    /* "0:2:3" */

#endif
