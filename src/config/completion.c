/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion for bash. Bash cuts words at "=", so `--flag=value` and `key=value` come as three
 * words; the generated function looks at the one before the "=", and behind a comma at the flag.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "config/config.h"
#include "config/schema.h"

static const char head[] =
	"# bash completion for vmm; made by `vmm config completion`\n"
	"_vmm()\n"
	"{\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	"\tlocal command=${COMP_WORDS[1]} IFS=$' \\t\\n'\n"
	"\n"
	"\tCOMPREPLY=()\n"
	"\tif [[ $cur == \"=\" ]]; then\n"
	"\t\tcur=\n"
	"\telif [[ $prev == \"=\" && $COMP_CWORD -ge 2 ]]; then\n"
	"\t\tprev=${COMP_WORDS[COMP_CWORD-2]}\n"
	"\tfi\n"
	"\tlocal at=$((COMP_CWORD - 1)) flag\n"
	"\twhile [[ $at -gt 1 && ${COMP_WORDS[at]} != -* ]]; do at=$((at - 1)); done\n"
	"\tflag=${COMP_WORDS[at]}\n"
	"\t[[ $cur == *,* ]] && prev=$flag\n"
	"\tif [[ $COMP_CWORD -eq 1 ]]; then\n"
	"\t\t_vmm_words \"run config selftest doctor version";

static const char head_rest[] = "\"\n"
				"\t\treturn\n"
				"\tfi\n"
				"\tcase $command in\n"
				"\tconfig)\n"
				"\t\tif [[ $COMP_CWORD -eq 2 ]]; then\n"
				"\t\t\t_vmm_words \"schema check completion man-options --help\"\n"
				"\t\telif [[ ${COMP_WORDS[2]} == check ]]; then\n"
				"\t\t\t_vmm_files\n"
				"\t\tfi\n"
				"\t\t;;\n"
				"\tselftest | doctor) _vmm_words \"--json\" ;;\n"
				"\tversion) _vmm_words \"--features\" ;;\n"
				"\trun) _vmm_run ;;\n";

static const char functions[] =
	"\tesac\n"
	"}\n"
	"\n"
	"# The flags in $1, or names of VMs.\n"
	"_vmm_vms()\n"
	"{\n"
	"\tif [[ $cur == -* ]]; then\n"
	"\t\t_vmm_words \"$1\"\n"
	"\telif [[ -n $2 ]]; then\n"
	"\t\t_vmm_words \"$(\"${COMP_WORDS[0]}\" ps -q 2>/dev/null)\"\n"
	"\tfi\n"
	"}\n"
	"\n"
	"# Words that begin like $cur; one that ends in = or , goes on without a blank.\n"
	"_vmm_words()\n"
	"{\n"
	"\tCOMPREPLY=($(compgen -W \"$1\" -- \"$cur\"))\n"
	"\tif [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=,] ]]; then\n"
	"\t\tcompopt -o nospace 2>/dev/null\n"
	"\tfi\n"
	"}\n"
	"\n"
	"_vmm_files()\n"
	"{\n"
	"\tlocal IFS=$'\\n'\n"
	"\n"
	"\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
	"\tcompopt -o filenames 2>/dev/null\n"
	"}\n"
	"\n"
	"_vmm_run()\n"
	"{\n"
	"\tcase $flag:${prev##*,} in\n";

static const char functions_rest[] = "\tesac\n"
				     "\tcase $prev in\n";

static const char tail[] = "\tesac\n"
			   "}\n"
			   "\n"
			   "complete -F _vmm vmm\n";

/* "--append | -a | -p" */
static void add_flags(const struct schema_row *row, struct str *out)
{
	str_addf(out, "--%s", row->flag);
	for (const char *letter = row->letters; letter && *letter; letter++)
		str_addf(out, " | -%c", *letter);
}

/* The words that a value may be, a path's beginning included: "stdio file= none". */
static void add_values(const struct schema_row *row, struct str *out)
{
	if (row->type == VALUE_BOOL)
		str_add(out, "on off");
	for (size_t i = 0; i < row->n_choices; i++)
		str_addf(out, "%s%.*s", i ? " " : "", (int)strcspn(row->choices[i].name, "P"),
			 row->choices[i].name);
}

static bool has_values(const struct schema_row *row)
{
	return row->type == VALUE_BOOL || row->n_choices;
}

/* "hugepages=", but "ro" for what is off until it is named. */
static void add_key(const struct schema_row *row, struct str *out)
{
	bool alone =
		row->type == VALUE_BOOL && (!row->fallback || strcmp(row->fallback, "off") == 0);

	str_addf(out, "${before}%s%s ", schema_key(row), alone ? "" : "=");
}

/*
 * After "--mem 1G,": its keys, each behind what stands there; after "1G,hugepages=" that key's
 * values. Before the first comma there is the bare value, a path or something that nobody can know;
 * where no key may stand bare, the keys come at once.
 */
static void add_compound(const struct schema_row *flag, struct str *out)
{
	const struct schema_row *row = NULL, *bare = schema_bare_key(flag);

	str_add(out, "\t");
	add_flags(flag, out);
	str_add(out, ")\n\t\tlocal before=\n\t\t[[ $cur == *,* ]] && before=${cur%,*},\n");
	if (bare)
		str_add(out, "\t\t[[ -n $before ]] && _vmm_words \"");
	else
		str_addf(out, "\t\t_vmm_words \"%s",
			 schema_value_is_optional(flag) ? "on off " : "");
	while ((row = schema_next_key(flag, row)))
		add_key(row, out);
	str_add(out, "\"\n");
	if (bare && bare->type == VALUE_PATH)
		str_add(out, "\t\t[[ -z $before ]] && _vmm_files\n");
	str_add(out, "\t\t;;\n");
}

/* "--disk:cache | -d:cache": the flag and the last key before the "=". */
static void add_flag_key(const struct schema_row *flag, const struct schema_row *row,
			 struct str *out)
{
	str_addf(out, "--%s:%s", flag->flag, schema_key(row));
	for (const char *letter = flag->letters; letter && *letter; letter++)
		str_addf(out, " | -%c:%s", *letter, schema_key(row));
}

/* The values of a compound flag's keys. */
static void add_key_values(const struct schema_row *flag, struct str *out)
{
	const struct schema_row *row = NULL;

	while ((row = schema_next_key(flag, row))) {
		if (!has_values(row))
			continue;
		str_add(out, "\t");
		add_flag_key(flag, row, out);
		str_add(out, ") _vmm_words \"");
		add_values(row, out);
		str_add(out, "\"; return ;;\n");
	}
}

/* A flag with one value. */
static void add_simple(const struct schema_row *row, struct str *out)
{
	str_add(out, "\t");
	add_flags(row, out);
	if (has_values(row)) {
		str_add(out, ") _vmm_words \"");
		add_values(row, out);
		str_add(out, "\" ;;\n");
	} else {
		str_add(out, row->type == VALUE_PATH ? ") _vmm_files ;;\n" : ") ;;\n");
	}
}

static void add_case(const struct schema_row *row, struct str *out)
{
	if (!schema_is_head(row) || row->type == VALUE_NONE)
		return;
	if (schema_is_compound(row))
		add_compound(row, out);
	else
		add_simple(row, out);
}

/* Any other word: a flag, or a path behind file= or unix=. */
static void add_rest(struct str *out)
{
	str_add(out, "\tfile | unix) _vmm_files ;;\n\t*) _vmm_words \"");
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_is_head(&schema_rows[i]))
			str_addf(out, "--%s ", schema_rows[i].flag);
	str_add(out, "\" ;;\n");
}

static void add_head(const struct config_command *commands, size_t n, struct str *out)
{
	str_add(out, head);
	for (size_t i = 0; i < n; i++)
		str_addf(out, " %s", commands[i].name);
	str_add(out, head_rest);
	for (size_t i = 0; i < n; i++)
		str_addf(out, "\t%s) _vmm_vms \"%s\"%s ;;\n", commands[i].name, commands[i].flags,
			 commands[i].names ? " names" : "");
	str_add(out, functions);
}

void config_print_completion(const struct config_command *commands, size_t n, FILE *out)
{
	struct str s = {0};
	_cleanup_free_ char *text = NULL;

	add_head(commands, n, &s);
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_is_head(&schema_rows[i]) && schema_is_compound(&schema_rows[i]))
			add_key_values(&schema_rows[i], &s);
	str_add(&s, functions_rest);
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].flag)
			add_case(&schema_rows[i], &s);
	add_rest(&s);
	str_add(&s, tail);
	text = str_steal(&s);
	if (text)
		(void)fputs(text, out);
}
