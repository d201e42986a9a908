#!/bin/sh
# Completes a virtual machine for the suite and runs a command in it: a second network interface, whose priority it sets, and
# the AppArmor profile that it gives a container.
set -e
ip link add covey-oci type dummy
apparmor_parser --config-file /dev/null --replace --skip-cache "${0%/*}/apparmor.profile"
# It makes cpusets of as many processors as it may run on, and our first program may run on the first only.
exec taskset --cpu-list 0,1 "$@"
