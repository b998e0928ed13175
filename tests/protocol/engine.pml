// SPDX-License-Identifier: GPL-2.0
/*
 * engine.pml - the step in flight and the threads that compute it, until unloading
 *
 * Follows kmod/worker.c and core/bn_work.c: two workers, steps of one phase with TILES tiles, two clients
 * that submit jobs, of which one may cancel its own. Everything that the module does with one atomic
 * operation, or under bitnet.lock, is one atomic block. Memory is sequentially consistent.
 *
 * Searched for: states without a way out in which somebody waits (lost wake-ups), and the assertions: a
 * step is delivered once, and by nobody while somebody else may look at it.
 * BUG_* put mistakes in, one at a time; each must be found: see models.sh.
 */

#define WORKERS	2
#define CLIENTS	2
#define JOBS	2	/* of client 0, one after the other; client 1 has one and does not cancel */
#define MINE(c)	(c == 0 -> JOBS : 1)
/* With SMALL there is no client 1, and a step is one tile. */
#ifdef SMALL
#define TILES	1
#else
#define TILES	2
#endif

mtype = { IDLE, BUILDING, ACTIVE, CLOSING, DELIVERING };
mtype = { NONE, RUNNABLE, STEPPING, ENDED };

mtype state = IDLE;
byte inside;			/* workers that may look at the step */
byte looking;			/* those that do: seen from outside of the protocol */
byte next_tile, tiles_done, live;
bool stop;
bool step_valid;		/* between building and delivering */
mtype job[CLIENTS] = NONE;
bool in_step[CLIENTS];
bool sleeping[WORKERS], kicked[WORKERS];
bool exiting;
byte open_files, gone;

#define runnable	(job[0] == RUNNABLE || job[1] == RUNNABLE)

inline wake_sleepers()
{
	atomic {
		if
		:: sleeping[0] -> kicked[0] = true
		:: else
		fi;
		if
		:: sleeping[1] -> kicked[1] = true
		:: else
		fi
	}
}

inline deliver_one(c)
{
	if
	:: in_step[c] ->
		in_step[c] = false;
		if
		:: job[c] == STEPPING -> job[c] = ENDED
		:: else
		fi
	:: else
	fi
}

inline deliver()
{
	atomic {
		assert(step_valid);	/* not twice */
		assert(!looking);
		step_valid = false;
		live = 0;
		deliver_one(0);
		deliver_one(1)
	}
}

inline choose_one(c)
{
	if
	:: job[c] == RUNNABLE -> job[c] = STEPPING; in_step[c] = true; live++
	:: else
	fi
}

/* In state BUILDING, which nobody else leaves. */
inline step_build()
{
	atomic {
		assert(state == BUILDING);
		choose_one(0);
		choose_one(1);
		if
		:: !live -> state = IDLE	/* from here on the engine is somebody else's */
		:: else ->
			built = true;
			step_valid = true;
			next_tile = 0;
			tiles_done = 0;
			stop = false
		fi
	}
	if
	:: built ->
		atomic {
			built = false;
#ifndef BUG_NO_LIVE_CHECK
			if
			:: !live -> stop = true
			:: else
			fi;
#else
			assert(live);
#endif
			state = ACTIVE
		}
		wake_sleepers()
	:: else
	fi
}

inline close_step()
{
	atomic {
		if
		:: state == ACTIVE -> state = CLOSING
		:: else
		fi
	}
}

/* Sets @last for the one who has to deliver. */
inline leave()
{
	atomic {
		inside--;
		zero = !inside;
		if
		:: found -> looking--
		:: else
		fi
	}
	do
	:: !zero -> break
	:: zero && inside -> break
	:: zero && !inside ->
		atomic {
			if
			:: state == CLOSING -> state = DELIVERING
			:: else -> zero = false
			fi
		}
		if
		:: !zero -> break
#ifdef BUG_LEAVE_LOOKS_ONCE
		:: zero -> last = true; break
#else
		:: zero && !inside -> last = true; break
		:: zero && inside -> state = CLOSING
#endif
		fi
	od;
	zero = false
}

inline finish()
{
	deliver();
	state = BUILDING;
	step_build()
}

/*
 * A tile is computed between claiming and finishing it. That this worker looks at the step is noted where
 * it is certain to: from the claim to the moment it leaves.
 */
inline enter_and_compute()
{
#ifdef BUG_STATE_BEFORE_INSIDE
	seen = state;
	inside++;
#else
	inside++;
	seen = state;
#endif
	found = false;
	if
	:: seen == ACTIVE ->
		atomic {
			assert(step_valid);
			if
			:: !stop && next_tile < TILES -> next_tile++; found = true; looking++
			:: else
			fi
		}
		if
		:: found ->
			atomic { assert(step_valid); tiles_done++; zero = tiles_done == TILES || stop }
			if
			:: zero -> close_step()
			:: else
			fi
		:: !found && (stop || tiles_done == TILES) -> close_step()
		:: else
		fi
	:: else
	fi;
	leave()
}

proctype worker(byte w)
{
	bool found, last, zero, built;
	mtype seen;

	do
	:: exiting -> break
	:: else ->
		enter_and_compute();
		if
		:: last -> last = false; found = true; finish()
		:: else ->
			if
			:: seen == IDLE && runnable ->
				found = true;
				atomic {
					if
					:: state == IDLE -> state = BUILDING; last = true
					:: else
					fi
				}
				if
				:: last -> last = false; step_build()
				:: else
				fi
			:: else
			fi
		fi;
		if
		:: found -> atomic { sleeping[w] = false; kicked[w] = false }
#ifdef BUG_NO_SECOND_LOOK
		:: !found -> sleeping[w] = true; (kicked[w] || exiting); atomic { sleeping[w] = false; kicked[w] = false }
#else
		:: !found && !sleeping[w] -> sleeping[w] = true
		:: !found && sleeping[w] ->
			(kicked[w] || exiting);
			atomic { sleeping[w] = false; kicked[w] = false }
#endif
		fi;
		atomic { found = false; seen = IDLE }
	od;
	gone++
}

proctype client(byte c)
{
	byte i;

	do
	:: i < MINE(c) ->
		job[c] = RUNNABLE;
#ifndef BUG_NO_KICK
		if
		:: runnable && state == IDLE -> wake_sleepers()
		:: else
		fi;
#endif
		if
		:: true -> job[c] == ENDED
		:: c == 0 ->
			atomic {
				if
				:: job[c] == STEPPING ->
					live--;
					if
					:: !live -> stop = true
					:: else
					fi
				:: else
				fi;
				job[c] = ENDED
			}
		fi;
		/* The job that was cancelled is another object than the next: it leaves the step first. */
		atomic { !in_step[c] || i == MINE(c) - 1 -> i++ }
	:: else -> break
	od;
	open_files--
}

init
{
	atomic {
#ifndef SMALL
		run client(1);
		open_files++;
#endif
		run client(0);
		open_files++;
		run worker(0);
		run worker(1)
	}
	open_files == 0;
	exiting = true;
	gone == WORKERS;
	assert(!inside && !looking);
	if
	:: state == ACTIVE || state == CLOSING -> deliver()
	:: else
	fi;
	assert(!step_valid && !in_step[0] && !in_step[1])
}
