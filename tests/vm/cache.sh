# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash
#
# What takes minutes to make is kept for later runs, of this checkout and of others. The caller has $here and progress().

cache=${XDG_CACHE_HOME:-$HOME/.cache}/iommufd-rlimit-shim

# kept: whether there is $built. If so it counts as used now, and remove_unused leaves it.
kept() { flock "$cache" touch --no-create "$built" && [ -e "$built" ]; }

# Removes what no checkout has used for a week.
remove_unused() {
	flock "$cache" find "$cache" -maxdepth 1 -regextype posix-extended -regex ".*-[0-9a-f]{12}(\..*)?" -mtime +6 -exec rm -rf {} +
}

# cached NAME "FILE..." COMMAND...: sets $built to the file or directory that COMMAND, called with its name as last
# argument, made; now, or earlier from the same FILEs by the same COMMAND. The steps that mmdebstrap logs are shown.
cached() {
	local name=$1 key lock self step
	# shellcheck disable=SC2086  # a list
	key=$({ cat $2; printf '%s\n' "${@:3}" | sed "s|^${here:?}/||"; } | sha256sum | cut -c 1-12)
	shift 2
	mkdir -p "$cache"
	built=$cache/$name-$key
	if kept; then return; fi
	exec {lock}>"$cache/$name.lock"
	flock --nonblock "$lock" || { progress "waiting for another run to build $name"; flock "$lock"; }
	if ! kept; then
		rm -rf "$built.new" # of a run that was killed
		mkdir "$built.new"  # has the date of this run, whatever date the root in it has
		(
			self=$BASHPID
			{
				tail --lines=+1 --follow=name --retry --pid="$self" "$built.new/made.log" 2>/dev/null |
					sed -un 's/^I: \(\(download\|extract\|install\|creat\)ing .*\)/\1/p' |
					while read -r step; do progress "$name: $step"; done
			} {lock}>&- &
			exec "$@" "$built.new/made"
		) || exit
		sync --file-system "$built.new"
		touch "$built.new/made" # a root's date is that of the package that has the directory
		mv "$built.new/made" "$built"
		rm -r "$built.new"
		remove_unused
	fi
	exec {lock}>&-
}
