/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct vm_config: one VM as plain, validated data. Command line, JSON file and --set all meet
 * here, and everything past this room takes it as const.
 *
 * schema.c holds ONE table, with those of repeated things in schema_devices.c. From it come the
 * flags, the JSON keys, --help, `vmm config schema`, the option list of the man page and the shell
 * completion, so they can't differ. Runs on main only.
 */
#ifndef VMM_CONFIG_CONFIG_H
#define VMM_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/err.h"

enum config_protocol { CONFIG_PROTOCOL_AUTO, CONFIG_PROTOCOL_LINUX64, CONFIG_PROTOCOL_PVH };
enum config_shared { CONFIG_SHARED_AUTO, CONFIG_SHARED_ON, CONFIG_SHARED_OFF };
enum config_on_reboot { CONFIG_REBOOT_EXIT, CONFIG_REBOOT_RESTART };
enum config_on_panic { CONFIG_PANIC_EXIT, CONFIG_PANIC_WAIT };
enum config_control { CONFIG_CONTROL_AUTO, CONFIG_CONTROL_ON, CONFIG_CONTROL_OFF };
enum config_sandbox { CONFIG_SANDBOX_STRICT, CONFIG_SANDBOX_LOG, CONFIG_SANDBOX_OFF };

enum config_cache { CONFIG_CACHE_NONE, CONFIG_CACHE_WRITEBACK, CONFIG_CACHE_UNSAFE };
enum config_io_engine { CONFIG_ENGINE_AUTO, CONFIG_ENGINE_URING, CONFIG_ENGINE_EPOLL };
enum config_transport { CONFIG_TRANSPORT_PCI, CONFIG_TRANSPORT_MMIO };
enum config_on_lost { CONFIG_ON_LOST_FAIL, CONFIG_ON_LOST_REPLAY };
enum config_watchdog {
	CONFIG_WATCHDOG_OFF, /* there is none */
	CONFIG_WATCHDOG_RESET,
	CONFIG_WATCHDOG_POWEROFF,
	CONFIG_WATCHDOG_PAUSE,
	CONFIG_WATCHDOG_NONE, /* an event and nothing else */
};
enum config_net_kind {
	CONFIG_NET_NONE,
	CONFIG_NET_TAP,
	CONFIG_NET_FD,
	CONFIG_NET_USER,
	CONFIG_NET_STREAM,
};

enum {
	CONFIG_MAX_CPUS = 254,
	CONFIG_MAX_ELEMENTS = 128, /* of one array */
	CONFIG_MAX_QUEUES = 64,
	CONFIG_MAX_PAIRS = 16, /* of queues of a network device */
	CONFIG_MAX_IOTHREADS = 64,
	CONFIG_MAX_ID = 31,
	CONFIG_ID_LEN = CONFIG_MAX_ID + 1, /* buffer for an id */
	CONFIG_MAC_LEN = 6,
};

/*
 * Devices of which there can be several, elements of arrays of struct vm_config in the order in
 * which they were given, and those of which there is one at most. Strings are owned; NULL and 0
 * mean not given unless it says something else. Rates are per second; a burst is what may go at
 * once above that, after a pause.
 */
struct config_disk {
	char *id; /* NULL: config_disk_id() makes one */
	char *path;
	bool ro;
	int cache;		   /* enum config_cache */
	uint32_t queues;	   /* 1..CONFIG_MAX_QUEUES; 0: min(processors, 4) */
	uint32_t qsize;		   /* a power of two, 4..32768; default 256 */
	char *serial;		   /* at most 20 bytes */
	bool lock;		   /* default on */
	bool overlay;		   /* writes are dropped at the end */
	uint64_t bw, bw_burst;	   /* bytes */
	uint32_t iops, iops_burst; /* requests */
	int iothread;		   /* index; -1: not given, the queues are spread */
	bool packed;		   /* offer packed rings, default on */
};

/* Exactly one of tap, fd, user, stream and none is given: config_net_kind(). */
struct config_net {
	char *id;	 /* NULL: config_net_id() makes one */
	char *tap;	 /* name of an interface */
	uint32_t fd;	 /* an inherited tap, 3 or more */
	bool user;	 /* passt; one at most */
	char *stream;	 /* "unix:PATH", config_stream_path() */
	bool none;	 /* no network: then it is the only element, and no device */
	char *mac;	 /* six bytes for config_parse_mac(), unicast; NULL: machine/ makes one */
	uint32_t queues; /* pairs, 1..CONFIG_MAX_PAIRS; 0: not given */
	uint32_t qsize;	 /* as of a disk */
	uint32_t mtu;	 /* 68..65535 */
	bool offload;	 /* default on */
	bool listen;	 /* stream: wait for the other side; else connect to it */
	uint64_t bw;	 /* bytes, each way */
	uint32_t pps;	 /* packets, each way */
	int iothread;	 /* as of a disk */
	bool packed;	 /* as of a disk */
};

struct config_vsock {
	uint32_t cid; /* 3..4294967294 */
	char *uds;    /* path of the unix socket; "_PORT" behind it still fits a socket's address */
	int iothread; /* as of a disk */
	bool packed;  /* as of a disk */
};

struct config_rng {
	uint64_t bw; /* bytes; 0: no limit */
};

struct config_balloon {
	uint64_t size;	     /* bytes that the guest is asked for at its start */
	bool deflate_on_oom; /* default on */
	bool reporting;	     /* of free pages, default on */
	uint64_t stats_ns;   /* how often statistics are asked for; 0: never */
};

struct config_pmem {
	char *id; /* NULL: config_pmem_id() makes one */
	char *path;
	bool ro;
	uint64_t size; /* bytes, a multiple of 2 MiB; 0: the file's */
};

/* A device whose data path is a vhost-user back end's. */
struct config_vhost_user {
	char *id;   /* NULL: config_vhost_user_id() makes one */
	char *path; /* of the unix socket */
	char *type; /* name or number of a virtio device; NULL: found out */
	uint32_t queues;
	uint32_t qsize;	       /* entries, default 256 */
	bool server;	       /* listen; else connect */
	uint64_t wait_ns;      /* for a back end at the start; default 5 s */
	uint64_t reconnect_ns; /* between two tries; 0: never again; default 100 ms */
	int on_lost;	       /* enum config_on_lost */
	bool packed;	       /* packed rings also from a back end that keeps no record */
	char *mac;    /* of a network card; NULL: made from the VM's name and the position */
	uint32_t mtu; /* of a network card; 0: not told */
	int iothread; /* as of a disk */
};

/* A named port of the virtio console. */
struct config_port {
	char *name;
	char *stream; /* chr spec, default none */
};

struct config_publish {
	char *text; /* [ADDR:]HOST:GUEST[/tcp|udp], config_parse_publish() */
};

struct config_iothreads {
	uint32_t count;	  /* 1..CONFIG_MAX_IOTHREADS, default 1 */
	uint64_t poll_ns; /* busy polling before a thread sleeps; 0: none */
	char *pin;	  /* "CPU:CPU:...", config_pin_cpu() */
};

/* Strings are owned, NULL when not given (and then left out of the JSON). Enums are stored as int.
 */
struct vm_config {
	char *name; /* NULL: not given; the run chooses one */
	struct {
		char *path;
		char *initrd;
		char *append;  /* what the user adds; see config_cmdline() */
		bool defaults; /* put vmm's own words before it */
		int protocol;  /* enum config_protocol */
	} kernel;
	struct {
		uint64_t size; /* bytes, a multiple of 4 KiB, at least 32 MiB; default 256 MiB */
		uint64_t hugepages; /* bytes of a page: 0 (off), 2 MiB or 1 GiB */
		int shared;	    /* enum config_shared */
		bool thp;	    /* transparent huge pages for private memory */
		bool prefault;
		uint64_t max;	  /* bytes; what is above size can be plugged; 0: nothing */
		uint64_t plugged; /* bytes of that at the start, a multiple of block */
		uint64_t block; /* bytes that are plugged at once, a power of two; default 2 MiB */
	} memory;
	struct {
		uint32_t boot;			  /* 1..CONFIG_MAX_CPUS */
		uint32_t sockets, cores, threads; /* 0: not given; use config_topology() */
	} cpus;
	char *console; /* chr spec: stdio (default), pty, file=PATH, unix=PATH, none */
	char *serial;  /* "console" (default): ttyS0 carries the console; else a chr spec of its own
			*/
	char *hvc; /* virtio console hvc0: none (default), "console", or a chr spec of its own */
	char *debugcon;		  /* chr spec of the debug port 0xe9; default none */
	int on_reboot;		  /* enum config_on_reboot */
	int on_panic;		  /* enum config_on_panic */
	uint64_t timeout_ns;	  /* 0: none */
	uint64_t stop_timeout_ns; /* default 10 s */
	char *result;		  /* path */

	struct config_disk *disks;
	struct config_net *nets;
	struct config_publish *publish; /* ports of the user net */
	struct config_vhost_user *vhost_users;
	struct config_pmem *pmem;
	struct config_port *ports;
	unsigned n_disks, n_nets, n_publish, n_vhost_users, n_pmem, n_ports;
	struct config_vsock *vsock;	/* NULL: none */
	struct config_rng *rng;		/* NULL: none */
	struct config_balloon *balloon; /* NULL: none */
	int watchdog;			/* enum config_watchdog */
	struct config_iothreads iothreads;
	int io_engine; /* enum config_io_engine */
	int transport; /* enum config_transport */

	struct {
		char *path; /* NULL: stderr */
		int level;  /* enum log_level, default warn; -q: error */
	} log;
	int sandbox;   /* enum config_sandbox */
	int control;   /* enum config_control: the state directory and its sockets */
	char *events;  /* path, or "fd:N" */
	char *pidfile; /* path */
};

void vm_config_init(struct vm_config *config); /* defaults */
void vm_config_done(struct vm_config *config);

/* What the command line of `vmm run` asks for besides the VM itself. */
struct run_request {
	bool print_config, dry_run, help;
	bool detach; /* in the background, once the guest runs */
	bool remove; /* --rm: the state directory goes at the end of a detached VM, too */
};

/*
 * Parses the arguments after `vmm run`, reads --config FILE first wherever it stands, then applies
 * flags and
 * --set in their order, and validates the whole. 0, or -EINVAL and the like with a message that
 * names the option, or FILE:LINE:COLUMN or FILE and the JSON pointer, what was wrong, the nearest
 * right name, and the remedy. On failure config holds what was understood (so that --result can
 * still be honoured); the caller calls vm_config_done() in both cases.
 */
int config_parse_run(int argc, char *const argv[], struct vm_config *config,
		     struct run_request *ret, struct err *err) must_check;

/* Applies a JSON file ("-" is stdin) over config without cross-field validation. */
int config_load_file(struct vm_config *config, const char *path, struct err *err) must_check;

/* Cross-field checks: kernel given, topology product, memory against hugepages, what carries the
 * console, and what devices can't have in common. */
int config_validate(const struct vm_config *config, struct err *err) must_check;

/*
 * The effective JSON, pretty-printed, ending in a newline; fed back by --config it gives the same
 * config. kernel.cmdline, which nobody can set, shows config_cmdline().
 */
int config_print(const struct vm_config *config, FILE *out) must_check;
/* The same as one malloc()ed compact line. */
char *config_to_json(const struct vm_config *config) must_check;

/*
 * The processors as the guest shall see them, for a configuration that config_validate() passed:
 * the product is cpus.boot. What is not given is 1 thread, 1 socket and as many cores as that
 * leaves.
 */
struct config_topology {
	uint32_t sockets, cores, threads;
};
struct config_topology config_topology(const struct vm_config *config);

/* The ids of devices: what was given, else "disk0" and so on by position, made in buf. */
const char *config_disk_id(const struct vm_config *config, unsigned i, char buf[CONFIG_ID_LEN]);
const char *config_net_id(const struct vm_config *config, unsigned i, char buf[CONFIG_ID_LEN]);
const char *config_vhost_user_id(const struct vm_config *config, unsigned i,
				 char buf[CONFIG_ID_LEN]);
const char *config_pmem_id(const struct vm_config *config, unsigned i, char buf[CONFIG_ID_LEN]);

enum config_net_kind config_net_kind(const struct config_net *net);
/* "blk" or "2": the number of the type in virtio 1.2, chapter 5; 0 when it is none. */
unsigned config_virtio_type(const char *text);
/* The path of "unix:PATH", inside of net; NULL without a stream. */
const char *config_stream_path(const struct config_net *net);

/* "52:54:00:12:34:56"; 0 or -EINVAL when it isn't the address of one interface. */
int config_parse_mac(const char *text, uint8_t ret[CONFIG_MAC_LEN]) must_check;

struct config_forward {
	char address[46]; /* without brackets; "": all addresses of the host */
	uint16_t host, guest;
	bool udp;
};
/* "[ADDR:]HOST:GUEST[/tcp|udp]", an IPv6 address in brackets. 0 or -EINVAL with a message. */
int config_parse_publish(const char *text, struct config_forward *ret, struct err *err) must_check;

/* The processor of the host that I/O thread i is pinned to, -1 for none; a list that is shorter
 * than the threads starts over. */
int config_pin_cpu(const struct vm_config *config, unsigned i);

/*
 * The command line that the guest gets, malloc()ed: the default words unless kernel.defaults is off
 * ("console=ttyS0 panic=-1"; console=hvc0 when that carries the console or the serial port goes
 * nowhere; no console when nothing goes anywhere, panic=-1 not
 * with on_panic=wait, which would be over at once), then append; words that append sets itself are
 * not added twice, and what follows "--" in append stays last and in order.
 */
char *config_cmdline(const struct vm_config *config) must_check;

/* Output of the one table. */
void config_print_help(FILE *out);	  /* option list of `vmm run --help` */
int config_print_schema(FILE *out);	  /* JSON Schema, draft 2020-12 */
void config_print_man_options(FILE *out); /* roff .TP list for vmm(1) */

/* A command of vmm that has no options in the table: its flags, separated by blanks, and whether it
 * takes names of VMs. */
struct config_command {
	const char *name, *flags;
	bool names;
};
/* For bash; commands are those besides run, config, selftest, doctor and version. */
void config_print_completion(const struct config_command *commands, size_t n, FILE *out);

#endif
