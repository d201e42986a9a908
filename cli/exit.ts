/** The exit codes, all of them; documented in every `--help` that can give more than 0 and 1. */
export const EXIT = {
  done: 0,
  error: 1,
  usage: 2,
  rolledBack: 3,
  deadline: 4,
  cannotPlace: 5,
  interrupted: 130,
} as const;

/** For the help of commands that wait. */
export const EXIT_HELP = `
Exit codes: 0 done, 1 error or paused, 2 usage, 3 rolled back, 4 deadline passed, 5 cannot place, 130 interrupted.`;
