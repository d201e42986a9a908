/** The main job on one machine: a cluster, a web service on it, and what to try next. Behind `npm start`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ClusterError, explain, toClusterError } from '../../common/errors.ts';
import { withResolvers } from '../../common/iterate.ts';
import { VERSION } from '../../common/version.ts';
import { withControl } from './client.ts';
import { readLayout } from './door.ts';
import { HOSTS_MAX } from './layout.ts';
import { clean, count, DEFAULT_DIR, isUp, prepare, up } from './main.ts';

const cli = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'cli', 'main.js');
const PUBLISHED = 8080;

const USAGE = `Usage: npm start -- [--hosts N] [--detach | --stop | --clean] [--dir D]

  (nothing)    set up, start a cluster with the service "web", stay in the foreground; Ctrl-C removes everything
  --hosts N    so many hosts (default 3)
  --detach     return when it is ready
  --stop       end what --detach left running, and remove it
  --clean      remove every trace, whatever state it is in
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      hosts: { type: 'string' },
      detach: { type: 'boolean' },
      stop: { type: 'boolean' },
      clean: { type: 'boolean' },
      dir: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const dir = resolve(values.dir ?? DEFAULT_DIR);
  if (values.help === true) return say(USAGE);
  if (values.stop === true || values.clean === true) {
    const there = existsSync(join(dir, 'cluster.json'));
    await clean(dir);
    return say(there ? `removed the cluster in ${dir}` : `there is no cluster in ${dir}`);
  }
  await discardOlder(dir);
  const found = existsSync(join(dir, 'cluster.json'));
  const layout = prepare(dir, count(values.hosts, 'hosts', HOSTS_MAX), undefined);
  if (found) say(isUp(layout) ? `the cluster in ${dir} is running` : `adopting the cluster found in ${dir}`);
  const interrupted = interruption();
  const work = bringUp(layout, values.hosts);
  const first = await Promise.race([work.then(() => 'up' as const), interrupted]);
  if (first === 'up' && values.detach === true) return 0;
  if (first === 'up') {
    say('\nCtrl-C removes everything.');
    await interrupted;
  }
  work.catch(() => {});
  say('\nremoving the cluster');
  await clean(dir);
  return first === 'up' ? 0 : 130;
}

async function bringUp(layout: ReturnType<typeof prepare>, hosts: string | undefined): Promise<void> {
  const status = await up(layout, (step) => say(`- ${step}`));
  const env = { ...process.env, COVEY_CONTEXT: status.context };
  const signal = AbortSignal.timeout(30_000);
  const services = await withControl(
    status.context,
    async (control) => (await control.listServices({ names: ['web'] }, { signal })).services,
  );
  if (services.length === 0) {
    say(`- creating the service web with 3 replicas, published on ${PUBLISHED}`);
    const code = await covey(
      env,
      'service',
      'create',
      '--name',
      'web',
      '--replicas',
      '3',
      '-p',
      `${PUBLISHED}:80`,
      'web:1',
    );
    if (code !== 0)
      throw new ClusterError('internal', `the service web did not converge (exit code ${code})`, {
        hint: `see ${layout.dir}/*.log`,
      });
  }
  say('');
  await covey(env, 'node', 'ls');
  say('');
  await covey(env, 'service', 'ps', 'web');
  const first = status.hosts[0]?.address;
  say(`\nweb answers on every host: http://${first}:${PUBLISHED}${hosts === undefined ? '' : ` (${hosts} hosts)`}`);
  say(`
Try in another terminal:
  export COVEY_CONTEXT=${status.context}
  curl http://${first}:${PUBLISHED}
  npx covey service scale web=10
  npx covey service update --image web:2 web
  npx covey service logs --follow web
  deploy/dev/cluster fail n2 host`);
}

/** A cluster that another version wrote cannot be adopted: say so and remove it. */
async function discardOlder(dir: string): Promise<void> {
  if (!existsSync(join(dir, 'cluster.json'))) return;
  const { version } = readLayout(dir);
  if (version === VERSION) return;
  say(`the cluster in ${dir} was made by version ${version}, this is ${VERSION}: removing it`);
  await clean(dir);
}

async function covey(env: NodeJS.ProcessEnv, ...args: string[]): Promise<number> {
  const child = spawn(process.execPath, [cli, ...args], { stdio: 'inherit', env });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

function interruption(): Promise<'interrupted'> {
  const interrupted = withResolvers<'interrupted'>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.resolve('interrupted'));
  // Keeps the process alive while nothing else does.
  setInterval(() => {}, 60_000);
  return interrupted.promise;
}

function say(text: string): number {
  console.log(text);
  return 0;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(`npm start: ${explain(toClusterError(error))}`);
    process.exit(1);
  },
);
