# The profile that the suite names, for its program that looks at itself: much like what container engines load.
profile acme_secure_profile flags=(attach_disconnected, mediate_deleted) {
  file,
  capability,
  network,
  umount,
  signal,
  deny mount,
  deny /sys/kernel/security/** rwklx,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,
}
