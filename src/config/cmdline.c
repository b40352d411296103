/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest kernel's command line. Words are split as the kernel does it: at blanks outside of
 * double quotes, which may stand anywhere in a word; a word that is only "--" ends the kernel's
 * part (Documentation/admin-guide/kernel-parameters.rst).
 */
#include <ctype.h>
#include <string.h>

#include "base/text.h"
#include "config/config.h"

/* The end of the word at s: the next blank outside of quotes, or the end of the text. */
static const char *word_end(const char *s)
{
	bool quoted = false;

	for (; *s && (quoted || !isspace((unsigned char)*s)); s++)
		if (*s == '"')
			quoted = !quoted;
	return s;
}

/* The next word at or after s, NULL at the end of the kernel's part. */
static const char *next_word(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	if (!*s || (strncmp(s, "--", 2) == 0 && word_end(s) == s + 2))
		return NULL;
	return s;
}

/* True for `name` and `name=...`, also with the whole word in quotes. */
static bool word_sets(const char *word, const char *name)
{
	size_t len = strlen(name);

	word += *word == '"';
	return strncmp(word, name, len) == 0 &&
	       (!word[len] || strchr("=\"", word[len]) || isspace((unsigned char)word[len]));
}

static bool text_sets(const char *text, const char *name)
{
	for (const char *word = next_word(text); word; word = next_word(word_end(word)))
		if (word_sets(word, name))
			return true;
	return false;
}

static bool goes_somewhere(const char *stream)
{
	return stream && strcmp(stream, "none") != 0;
}

/*
 * The word for the guest's console; NULL when all output is dropped. With --console none the words
 * are still read by vmm: they tell a panic and end up in the result.
 */
static const char *console_word(const struct vm_config *config)
{
	if (config->hvc && strcmp(config->hvc, "console") == 0)
		return "console=hvc0";
	if (goes_somewhere(config->serial))
		return "console=ttyS0";
	return goes_somewhere(config->hvc) ? "console=hvc0" : NULL;
}

static void add_word(struct str *s, const char *word)
{
	str_addf(s, "%s%s", s->len ? " " : "", word);
}

char *config_cmdline(const struct vm_config *config)
{
	const char *append = config->kernel.append ? config->kernel.append : "";
	const char *console = console_word(config);
	struct str s = {0};

	if (config->kernel.defaults) {
		if (console && !text_sets(append, "console"))
			add_word(&s, console);
		if (config->on_panic != CONFIG_PANIC_WAIT && !text_sets(append, "panic"))
			add_word(&s, "panic=-1");
	}
	if (*append)
		add_word(&s, append);
	return str_steal(&s);
}
