// Rules of kmod/README.md and of the lock table in kmod/bitnet.h. Each finding is one line.
virtual report

@initialize:python@
@@
import re
SLEEPS = re.compile("(_*)(copy_(from|to|struct_from)_user|(get|put)_user|k[vmz]*(alloc|calloc|free)(_array|_node|_sensitive)?|"
	"kmem_cache_\w+|v(m|z)?alloc|vfree|vmap|vunmap|mutex_lock\w*|cpus_read_lock|(un)?pin_user_pages(_fast)?|"
	"cond_resched|schedule\w*|wait_event\w*|flush_work\w*|synchronize_rcu|xa_(alloc|erase|store)|"
	"bitnet_(job|session|model|file|user)_put|bitnet_respond|bitnet_big_\w+|bitnet_(un)?charge|bitnet_user_(get|find_or_create)|"
	"bitnet_(model|session)_get|bitnet_model_find|bitnet_fpu_\w+|spin_lock)$")
WAKES = re.compile("wake_\w+|(bitnet_)?eventfd_signal\w*|bitnet_ring_notify|bitnet_workers_kick|bitnet_jobs_ended")
ALLOCATES = re.compile("(k[vmz]*alloc|k[v]?calloc|v[mz]alloc)(_array|_node)?$|kstrdup$|kmemdup$")
def tell(p, what):
	print("%s:%s: %s, in %s()" % (p[0].file, p[0].line, what, p[0].current_element))

// ---- nothing sleeps under bitnet.lock, and nobody is woken, who would want it at once

@under_lock exists@
symbol bitnet;
identifier f;
position p;
@@
spin_lock(&bitnet.lock)
... when != spin_unlock(&bitnet.lock)
f@p(...)

@script:python@
p << under_lock.p;
f << under_lock.f;
@@
if SLEEPS.match(f) or WAKES.match(f):
	tell(p, f + "() under bitnet.lock")

@in_locked exists@
identifier fn =~ "_locked$";
identifier f;
position p;
@@
fn(...) { <+... f@p(...) ...+> }

@script:python@
p << in_locked.p;
f << in_locked.f;
@@
if SLEEPS.match(f) or WAKES.match(f):
	tell(p, f + "() under the caller's lock")

// ---- functions that need a lock: not without one, and not after it was given back

@unlocked exists@
identifier fn !~ "_locked$";
identifier f =~ "_locked$";
position p;
@@
fn(...) {
... when != spin_lock(...)
    when != mutex_lock(...)
    when != lockdep_assert_held(...)
f@p(...)
... when any
}

@script:python@
p << unlocked.p;
f << unlocked.f;
@@
tell(p, f + "() without a lock")

@given_back exists@
symbol bitnet;
identifier f =~ "_locked$";
position p;
@@
spin_unlock(&bitnet.lock)
... when != spin_lock(&bitnet.lock)
f@p(...)

@script:python@
p << given_back.p;
f << given_back.f;
@@
tell(p, f + "() after the lock was given back")

// ---- memory that is shared with a process: written, and only @head read, with acquire semantics

@shared@
expression ring, value;
position p;
@@
(
WRITE_ONCE(ring->header@p->flags, value)
|
smp_store_release(&ring->header@p->tail, value)
|
smp_load_acquire(&ring->header@p->head)
)

@otherwise@
expression ring;
identifier member;
position p != shared.p;
@@
ring->header@p->member

@script:python@
p << otherwise.p;
member << otherwise.member;
@@
# Before it is shared, and where it is not: in-kernel clients
if p[0].current_element not in ("ring_alloc", "consume"):
	tell(p, "header->" + member + " is shared with a process")

// ---- user memory: each byte is read once

@twice exists@
expression to1, to2, from, n1, n2;
position first, p;
@@
(
copy_from_user@first(to1, from, n1)
|
get_user@first(to1, from)
)
... when != from = ...
    when != from++
    when != from += ...
(
copy_from_user@p(to2, from, n2)
|
get_user@p(to2, from)
)

@script:python@
first << twice.first;
p << twice.p;
from_ << twice.from;
@@
# In a loop, a place follows itself.
if first[0].line != p[0].line:
	tell(p, from_ + " is read from user memory a second time")

// ---- what users cause to be allocated is charged to them

@allocation@
identifier f;
position p;
expression flags;
@@
(
f@p(..., GFP_KERNEL)
|
f@p(..., GFP_KERNEL | flags)
|
f@p(..., GFP_ATOMIC)
)

@script:python@
p << allocation.p;
f << allocation.f;
@@
if ALLOCATES.match(f):
	tell(p, f + "() without GFP_KERNEL_ACCOUNT")
