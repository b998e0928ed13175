# Judges what test programs printed (the Test Anything Protocol, many programs in one stream).
#
# Input: for each program a line "#@ begin NAME", its output, "#@ end NAME STATUS SECONDS". Output:
# failures and skips in words, then "total PASSED FAILED SKIPPED". A program also fails when it does not
# end, ends with an error that it did not explain, or when its plan does not match what it ran.

function fail(text) { failed++; prog_failed++; print "  FAIL " name ": " text }

function finish(status) {
	if (bailed)
		fail("Bail out!" bailed)
	else if (plan == "")
		fail("no plan (\"1..N\")" (status == "" ? ", it did not end" : ", exit status " status))
	else if (plan != ran)
		fail("planned " plan " checks, ran " ran)
	else if (status == "")
		fail("it did not end")
	if (status != "" && status != 0 && !prog_failed)
		fail("exit status " status (status == 137 || status == 143 ? " (killed: too slow?)" : ""))
	name = ""
}

function reset(n) { name = n; plan = ""; ran = 0; bailed = ""; prog_failed = 0; context = 0 }

{ sub(/\r$/, "") }
/^#@ begin / { if (name != "") finish(""); reset($3); next }
/^#@ end /   { if (name != "") finish($4); next }
name == ""   { next }
/^1\.\.[0-9]+/ {
	plan = substr($1, 4) + 0
	if (plan == 0 && ran == 0) {
		skipped++
		sub(/^1\.\.0[ #]*(SKIP)?[ :]*/, "")
		print "  skip " name ": " $0
	}
	next
}
/^Bail out!/ { bailed = substr($0, 10); if (bailed == "") bailed = " "; next }
/^not ok([ \t]|$)/ {
	ran++
	sub(/^not ok[ \t]*[0-9]*[ \t]*(- )?/, "")
	fail($0)
	context = 12
	next
}
/^ok([ \t]|$)/ {
	ran++
	context = 0
	if (match($0, /# *[Ss][Kk][Ii][Pp]/)) {
		skipped++
		sub(/^ok[ \t]*[0-9]*[ \t]*(- )?/, "")
		sub(/# *[Ss][Kk][Ii][Pp] */, "")
		print "  skip " name ": " $0
	} else {
		passed++
	}
	next
}
# What a failed check says about itself.
context > 0 && /^#/ { print "       " $0; context-- }
END {
	if (name != "")
		finish("")
	printf "total %d %d %d\n", passed, failed, skipped
}
