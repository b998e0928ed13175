// SPDX-License-Identifier: GPL-2.0
/*
 * jobs.pml - clients, their rings, and jobs from SUBMIT to the last reference, until unloading
 *
 * Follows kmod/ring.c, job.c, queue.c, dev.c and main.c; the step is one action here (engine.pml has
 * its threads). What the module does under bitnet.lock is one atomic block, and everything between two
 * of them is interleaved with all others. Memory is sequentially consistent: where the module needs a
 * barrier for that, a comment there says so.
 *
 * Of a ring only counts are kept: k, the entries that the kernel believes unread, and u, those that are.
 * A process that writes nonsense to @head is ignored, or is one that reads fast: both are runs of this.
 *
 * Searched for: states without a way out in which somebody waits (lost wake-ups), and the assertions.
 * BUG_* put mistakes in, one at a time; each must be found: see models.sh.
 */

#define CLIENTS	2
#define JOBS	2	/* of each client, one session: the second is queued behind the first */
#define N	CLIENTS * JOBS
#define ENTRIES	3	/* of a ring: two are reserved, one is left for tokens; only counts matter here */
#ifndef TOKENS
#define TOKENS	1
#endif

mtype = { NONE, PREPARED, QUEUED, RUNNABLE, STEPPING, PARKED, ENDED };

#define CLIENT(j)	((j) / JOBS)

/*
 * Client 0 gives up, cancels and leaves at any moment, and waits with WAIT. Client 1 waits for an eventfd,
 * and has to get all of its entries whatever the other does; with SMALL it has one job instead of two.
 */
#define rude(c)		((c) == 0)

typedef ring {
	byte k, u, reserved, promised;
	bool need_wakeup;	/* shared: BITNET_RING_F_NEED_WAKEUP */
};

typedef file {
	byte refs;
	byte n_parked;
	bool due;   		/* a wake-up is due when the lock is released */
	bool waiting, woken;	/* the wait queue */
	bool freed;
};

typedef job {
	mtype state = NONE;
	byte refs;
	byte made;
	byte promised;
	bool in_step;
};

ring rings[CLIENTS];
file files[CLIENTS];
job jobs[N];
byte runnable;
byte open_files = CLIENTS;
byte put_later;			/* jobs that the work queue has to free, a bit each */
bool sleeping, kicked, exiting, worker_gone, unloaded;
bool submitted, cancelled;	/* by client 0 */

#define free_slots(c)	(ENTRIES - rings[c].k - rings[c].reserved - rings[c].promised)
#define alive(c)	assert(!files[c].freed && !unloaded)

/* ---- ring.c ---------------------------------------------------------------------------------- */

inline read_head(c)
{
	rings[c].k = rings[c].u;
}

inline post(c)
{
	alive(c);
	assert(rings[c].k < ENTRIES);	/* the WARN_ON_ONCE() */
	rings[c].k++;
	rings[c].u++;
	files[c].due = true;
}

/* Without the lock; the caller has a reference. */
inline notify(c)
{
	alive(c);
	if
	:: files[c].due ->
		files[c].due = false;
		if
		:: files[c].waiting -> files[c].woken = true
		:: else
		fi
	:: else
	fi
}

inline file_put(c)
{
	assert(files[c].refs > 0);
	files[c].refs--;
	if
	:: files[c].refs == 0 ->
		assert(!rings[c].reserved && !rings[c].promised && !files[c].n_parked);
		files[c].freed = true
	:: else
	fi
}

/* ---- queue.c --------------------------------------------------------------------------------- */

inline run_locked(j)
{
	if
	:: jobs[j].state == PARKED -> files[CLIENT(j)].n_parked--
	:: else
	fi;
	jobs[j].state = RUNNABLE;
	runnable++;
}

/* Lets parked jobs run again when there is room. The caller kicks. */
inline refresh(c)
{
	read_head(c);
	if
	:: files[c].n_parked && free_slots(c) > 0 ->
		rings[c].need_wakeup = false;
		if
		:: jobs[c * JOBS].state == PARKED -> run_locked(c * JOBS)
		:: else
		fi;
		if
		:: jobs[c * JOBS + 1].state == PARKED -> run_locked(c * JOBS + 1)
		:: else
		fi
	:: else
	fi
}

/* A RUNNABLE job finds no room. */
inline park(j)
{
	runnable--;
	jobs[j].state = PARKED;
	files[CLIENT(j)].n_parked++;
	files[CLIENT(j)].due = true;
	rings[CLIENT(j)].need_wakeup = true;
}

inline kick()
{
	atomic {
		if
		:: runnable && sleeping -> kicked = true
		:: else
		fi
	}
}

/* ---- job.c ----------------------------------------------------------------------------------- */

/* The job behind @j in its session may run now; it always fits. */
inline session_next(j)
{
	if
	:: j % JOBS == 0 && jobs[j + 1].state == QUEUED -> run_locked(j + 1)
	:: else
	fi
}

/* The reference of being unfinished stays, until it is dropped without the lock. */
inline end_one(j)
{
	assert(jobs[j].state != ENDED);
	if
	:: jobs[j].state == RUNNABLE -> runnable--
	:: jobs[j].state == PARKED ->
		files[CLIENT(j)].n_parked--;
		if
		:: !files[CLIENT(j)].n_parked -> rings[CLIENT(j)].need_wakeup = false
		:: else
		fi
	:: jobs[j].state == STEPPING ->
#ifndef BUG_CANCEL_KEEPS_PROMISE
		rings[CLIENT(j)].promised = rings[CLIENT(j)].promised - jobs[j].promised;
		jobs[j].promised = 0
#endif
	:: else
	fi;
	jobs[j].state = ENDED;
#ifndef BUG_NO_RESERVE
	assert(rings[CLIENT(j)].reserved);
	rings[CLIENT(j)].reserved--;
#endif
	post(CLIENT(j));
}

inline job_put(j)
{
	assert(jobs[j].refs > 0);
	jobs[j].refs--;
	if
	:: jobs[j].refs == 0 -> file_put(CLIENT(j))
	:: else
	fi
}

/* What a worker does instead: the work queue frees. */
inline job_put_later(j)
{
	assert(jobs[j].refs > 0);
	jobs[j].refs--;
	if
	:: jobs[j].refs == 0 -> put_later = put_later | (1 << j)
	:: else
	fi
}

/* ---- a client -------------------------------------------------------------------------------- */

#define over(j)		(jobs[j].state == NONE || jobs[j].state == ENDED)
#define goes_on(j)	(jobs[j].state == RUNNABLE || jobs[j].state == STEPPING)

/* SUBMIT of one job: prepared, then accepted, or given up when the caller's struct cannot be written. */
inline submit(c, j)
{
	atomic {
		read_head(c);
		if
		:: rings[c].reserved + 2 <= ENTRIES && free_slots(c) > 0 ->
#ifndef BUG_NO_RESERVE
			rings[c].reserved++;
#endif
			jobs[j].state = PREPARED;
			jobs[j].refs = 1;
			files[c].refs++
		:: else -> ok = false
		fi
	}
	if
	:: jobs[j].state == PREPARED ->
		if
		:: atomic {
			jobs[j].state = QUEUED;
			if
			:: j % JOBS == 0 || over(CLIENT(j) * JOBS) -> run_locked(j)
			:: else
			fi
		   }
#ifndef BUG_NO_KICK
		   kick()
#endif
		:: rude(c) -> atomic {
			rings[c].reserved--;
			jobs[j].state = NONE;
			job_put(j)
		   }
		fi
	:: else
	fi
}

/* CANCEL and close: of all jobs, the last one first. */
inline cancel(c)
{
	atomic {
		gone = 0;
		if
		:: !over(c * JOBS + 1) -> end_one(c * JOBS + 1); gone = gone | 2
		:: else
		fi;
		if
		:: !over(c * JOBS) -> end_one(c * JOBS); gone = gone | 1
		:: else
		fi
	}
	kick();
	drop_ended(c)
}

/* CANCEL of the first job alone; the one behind it takes its place. */
inline cancel_first(c)
{
	atomic {
		gone = 0;
		if
		:: !over(c * JOBS) ->
			end_one(c * JOBS);
			gone = 1;
#ifndef BUG_NO_NEXT
			session_next(c * JOBS)
#endif
		:: else
		fi
	}
	kick();
	drop_ended(c)
}

inline drop_ended(c)
{
	if
	:: gone ->
#ifndef BUG_NO_NOTIFY
		atomic { notify(c) }
#endif
		atomic { drop_refs(c) }
	:: else
	fi
}

inline drop_refs(c)
{
	if
	:: gone & 1 -> job_put(c * JOBS)
	:: else
	fi;
	if
	:: gone & 2 -> job_put(c * JOBS + 1)
	:: else
	fi;
	gone = 0
}

/* WAIT for one entry: over when there is one, or when no job goes on unless entries are read. */
inline wait(c)
{
	files[c].waiting = true;
	do
	:: true ->
		atomic {
			files[c].woken = false;
			refresh(c);
			ready = rings[c].u > 0 || !(goes_on(c * JOBS) || goes_on(c * JOBS + 1));
			/* It does not return for nothing. */
			assert(!ready || rings[c].u > 0 || over(c * JOBS) && over(c * JOBS + 1))
		}
		kick();
		if
		:: ready -> break
		:: else -> files[c].woken
		fi
	od;
	atomic { ready = false; files[c].waiting = false; files[c].woken = false }
}

/* Reads an entry, and afterwards looks whether anybody waits for the room. */
inline consume(c)
{
	rings[c].u > 0 -> rings[c].u--;
	if
	:: rings[c].need_wakeup ->
		atomic { refresh(c) }
		kick()
	:: else
	fi
}

/* An eventfd is readable when entries have come; nobody looks at @head for who waits for it. */
#define eventfd(c)	(rings[c].u > 0 || over(c * JOBS) && over(c * JOBS + 1))

proctype client(byte c)
{
	byte gone;
	bool ok = true, ready;

	submit(c, c * JOBS);
	if
	:: rude(c) -> submit(c, c * JOBS + 1); submitted = true
#ifndef SMALL
	:: else -> submit(c, c * JOBS + 1)
#else
	:: else
#endif
	fi;
	/* Reads all entries until both jobs are over; a rude one leaves at any moment. */
	do
	:: rings[c].u > 0 -> consume(c)
	:: rings[c].u == 0 && over(c * JOBS) && over(c * JOBS + 1) -> break
	:: rings[c].u == 0 && c == 0 -> wait(c)
	:: rings[c].u == 0 && c == 1 -> eventfd(c)
	:: rude(c) && ok -> break
	od;
	/* close, when no other thread uses the file any more */
	!rude(c) || cancelled;
	cancel(c);
	atomic { open_files--; file_put(c) }
}

/* Another thread of client 0 cancels one job or all, at any moment. */
proctype canceller(byte c)
{
	byte gone;

	submitted;
	if
	:: cancel_first(c)
	:: cancel(c)
	:: true
	fi;
	cancelled = true
}

/* ---- the worker ------------------------------------------------------------------------------ */

inline step_choose(j)
{
	if
	:: jobs[j].state == RUNNABLE ->
		if
		:: free_slots(CLIENT(j)) > 0 ->
			runnable--;
			jobs[j].state = STEPPING;
			jobs[j].in_step = true;
			jobs[j].refs++;
			jobs[j].promised = 1;
			rings[CLIENT(j)].promised++;
			n++
		:: else ->
			park(j);
			jobs[j].refs++;
			parked = parked | (1 << j);
#ifndef BUG_PARK_NO_LOOK
			refresh(CLIENT(j))
#endif
		fi
	:: else
	fi
}

inline step_deliver(j)
{
	if
#ifdef BUG_DELIVER_ENDED
	:: jobs[j].in_step ->
#else
	:: jobs[j].in_step && jobs[j].state != ENDED ->
#endif
		rings[CLIENT(j)].promised = rings[CLIENT(j)].promised - jobs[j].promised;
		jobs[j].promised = 0;
		post(CLIENT(j));
		jobs[j].made++;
		if
		:: jobs[j].made == TOKENS ->
			jobs[j].made = 0;
			end_one(j);
			ended = ended | (1 << j);
			session_next(j)
		:: else -> run_locked(j)
		fi
	:: else
	fi
}

#define touched(j)	(parked & (1 << j) || ended & (1 << j) || jobs[j].in_step)

inline tell(j)
{
	if
	:: touched(j) -> notify(CLIENT(j))
	:: else
	fi
}

inline drop(j)
{
	if
	:: parked & (1 << j) || jobs[j].in_step -> jobs[j].in_step = false; job_put_later(j)
	:: else
	fi;
	if
	:: ended & (1 << j) -> job_put_later(j)
	:: else
	fi
}

/* Wakes who waits for the step's jobs; then lets go of them. */
inline after()
{
#ifndef BUG_PUT_BEFORE_NOTIFY
	atomic { tell(0); tell(1); tell(2); tell(3) }
	atomic { drop(0); drop(1); drop(2); drop(3); n = 0; parked = 0; ended = 0 }
#else
	atomic { was[0] = touched(0) || touched(1); was[1] = touched(2) || touched(3) }
	atomic { drop(0); drop(1); drop(2); drop(3); n = 0; parked = 0; ended = 0 }
	atomic {
		if
		:: was[0] -> notify(0)
		:: else
		fi;
		if
		:: was[1] -> notify(1)
		:: else
		fi
	}
#endif
}

proctype worker()
{
	byte n, parked, ended;
#ifdef BUG_PUT_BEFORE_NOTIFY
	bool was[CLIENTS];
#endif

	do
	:: exiting -> break
	:: else ->
		atomic {
			n = 0;
			step_choose(0); step_choose(1); step_choose(2); step_choose(3)
		}
		if
		:: !n && !parked ->
			/* Says that it sleeps, and looks once more. */
			sleeping = true;
			if
#ifndef BUG_NO_SECOND_LOOK
			:: runnable -> skip
			:: else -> kicked || exiting
#else
			:: kicked || exiting
#endif
			fi;
			atomic { sleeping = false; kicked = false }
		:: !n && parked ->
			after()
		:: n ->
			/* The step is computed now. */
			atomic { step_deliver(0); step_deliver(1); step_deliver(2); step_deliver(3) }
			after()
		fi
	od;
	worker_gone = true
}

inline free_later(j)
{
	if
	:: put_later & (1 << j) -> file_put(CLIENT(j))
	:: else
	fi
}

proctype work_queue()
{
	do
	:: atomic {
		put_later ->
			assert(!unloaded);
			free_later(0); free_later(1); free_later(2); free_later(3);
			put_later = 0
	   }
	:: unloaded && !put_later -> break
	od
}

/* rmmod: possible when no file is open. */
init
{
	byte j;

	atomic {
		do
		:: j < CLIENTS -> files[j].refs = 1; run client(j); j++
		:: else -> break
		od;
		run canceller(0);
		run worker();
		run work_queue();
		j = 0
	}
	open_files == 0;
	exiting = true;
	worker_gone;
#ifndef BUG_NO_FLUSH
	put_later == 0;
#endif
	unloaded = true;
	atomic {
		do
		:: j < N -> assert(jobs[j].refs == 0 && !jobs[j].in_step && over(j)); j++
		:: else -> break
		od;
		assert(files[0].freed && files[1].freed && !runnable)
	}
}
