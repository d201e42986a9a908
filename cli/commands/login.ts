/** `login` and `logout`: what registries are entered with, kept by the cluster. */
import type { Command } from 'commander';
import { ClusterError } from '../../common/errors.ts';
import { HUB, serverPlace } from '../../common/registry/place.ts';
import { ask } from '../ask.ts';
import { brief, interruptible, withCluster } from '../client.ts';

interface LoginFlags {
  readonly username?: string;
  readonly password?: string;
  readonly passwordStdin?: boolean;
}

/** More is no password. */
const PASSWORD_BYTES_MAX = 64 * 1024;
const HUB_WORDS =
  "Login with your Docker ID to push and pull images from Docker Hub. If you don't have a Docker ID, head over to https://hub.docker.com to create one.\n";

/** Declares both. */
export function addLoginCommands(program: Command): void {
  program
    .command('login [server]')
    .description('Log in to a registry, for every manager of the cluster; Docker Hub when none is named')
    .option('-u, --username <name>', 'user name')
    .option('-p, --password <password>', 'password; others on this machine may see it')
    .option('--password-stdin', 'take the password from standard input')
    .action(logIn);
  program
    .command('logout [server]')
    .description('Forget the login of a registry; Docker Hub when none is named')
    .action(logOut);
}

async function logIn(server: string | undefined, flags: LoginFlags): Promise<void> {
  if (flags.password !== undefined) {
    if (flags.passwordStdin === true)
      throw new ClusterError('invalid', '--password and --password-stdin are mutually exclusive', {
        field: '--password',
      });
    process.stderr.write('WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n');
  }
  if (flags.passwordStdin === true && !flags.username)
    throw new ClusterError('invalid', 'must provide --username with --password-stdin', { field: '--username' });
  const given = flags.passwordStdin === true ? { ...flags, password: await passwordOfStdin() } : flags;
  const login = await completed(given, server ?? '');
  const signal = interruptible();
  await withCluster((control) => control.login({ server: server ?? '', ...login }, { signal }));
  process.stdout.write('Login Succeeded\n');
}

async function logOut(server: string | undefined): Promise<void> {
  const { registry, wasKnown } = await withCluster((control) => control.logout({ server: server ?? '' }, brief()));
  process.stdout.write(wasKnown ? `Removing login credentials for ${registry}\n` : `Not logged in to ${registry}\n`);
}

/** What was not given is asked for. */
async function completed(flags: LoginFlags, server: string): Promise<{ username: string; password: string }> {
  if (flags.username === undefined && serverPlace(server)?.registry === HUB) process.stdout.write(HUB_WORDS);
  const questions = [
    ...(flags.username === undefined ? [{ text: 'Username: ', isSecret: false }] : []),
    ...(flags.password === undefined ? [{ text: 'Password: ', isSecret: true }] : []),
  ];
  const answers = questions.length === 0 ? [] : [...(await ask(questions))];
  const username = (flags.username ?? answers.shift() ?? '').trim();
  const password = flags.password ?? answers.shift() ?? '';
  if (username === '') throw new ClusterError('invalid', 'non-null username required', { field: '--username' });
  if (password === '') throw new ClusterError('invalid', 'password required', { field: '--password' });
  return { username, password };
}

async function passwordOfStdin(): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of process.stdin) {
    pieces.push(piece as Buffer);
    size += (piece as Buffer).length;
    if (size > PASSWORD_BYTES_MAX)
      throw new ClusterError('invalid', `is longer than ${PASSWORD_BYTES_MAX} bytes`, { field: '--password-stdin' });
  }
  return Buffer.concat(pieces)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}
