#!/usr/bin/env node
/** `covey-manager`: reads its settings, opens its store, serves until it is told to stop. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../common/clock.ts';
import { helpText, loadConfig } from '../common/config.ts';
import { ClusterError, explain, messageOf, toClusterError } from '../common/errors.ts';
import { aborted } from '../common/iterate.ts';
import { Scope } from '../common/lifecycle.ts';
import { type LogLevel, makeLog } from '../common/log.ts';
import { stopSignal } from '../common/stop-signal.ts';
import { advertised } from './advertise.ts';
import { takeDirectory } from './directory.ts';
import { parseMirrors } from './images/mirrors.ts';
import { initCluster } from './init.ts';
import { openStore } from './open-store.ts';
import { serve } from './serve.ts';
import { INIT_SETTINGS, MANAGER_SETTINGS, type ManagerConfig } from './settings.ts';
import { maintain } from './store/maintenance.ts';
import { storeHealth } from './store-health.ts';

const USAGE = 'run | init [SETTINGS]';
const SOURCES = { program: 'covey-manager', env: process.env, defaultFile: '/etc/covey/manager.json' };
const LOGIN_KEY_BYTES_MIN = 32;
const EXIT = { error: 1, usage: 2 } as const;

async function main(argv: readonly string[]): Promise<void> {
  if (argv[0] === 'init') {
    const { config, help, words } = loadConfig(INIT_SETTINGS, { ...SOURCES, argv: argv.slice(1) });
    if (help) return say(helpText('covey-manager', USAGE, INIT_SETTINGS));
    refuse(words);
    return await initCluster(config);
  }
  const { config, help, words } = loadConfig(MANAGER_SETTINGS, { ...SOURCES, argv });
  if (help) return say(helpText('covey-manager', USAGE, MANAGER_SETTINGS));
  refuse(words[0] === 'run' ? words.slice(1) : words);
  await run(config);
}

/** Runs until SIGTERM or SIGINT, or until a part of it has failed for good. */
async function run(config: ManagerConfig): Promise<void> {
  if (config['unsafe-skip-drain'] && process.env.COVEY_TEST_SWITCHES !== '1') {
    throw new ClusterError('invalid', 'this switch is for tests only', { field: 'unsafe-skip-drain' });
  }
  const log = makeLog({ program: 'covey-manager', level: config['log-level'] as LogLevel });
  const scope = new Scope('covey-manager', stopSignal());
  const clock = systemClock;
  const registries = {
    insecure: config['insecure-registry'],
    certs: config['registry-certs'],
    mirrors: parseMirrors(config['registry-mirror']),
  };
  const loginKey = await readLoginKey(config['registry-login-key']);
  try {
    const directory = await takeDirectory(config['state-dir'], clock, scope.signal);
    scope.own('directory', directory, (each) => each.release());
    const opened = await openStore({ config, clock, log }, scope.signal);
    scope.own('store', opened, (each) => each.close());
    scope.run('maintenance', (signal) => maintain({ etcd: opened.etcd, clock, log }, signal));
    const manager = await serve({
      id: directory.managerId,
      store: opened.store,
      health: storeHealth(opened, config['etcd-quota-bytes']),
      listen: config.listen,
      advertise: () => advertised(config),
      imagesDir: join(config['state-dir'], 'images'),
      registries,
      ...(loginKey === undefined ? {} : { loginKey }),
      imageUploadRate: config['image-upload-rate'],
      clock,
      log,
      skipDrain: config['unsafe-skip-drain'],
    });
    scope.own('services', manager, (each) => each.close());
    const end = AbortSignal.any([scope.signal, manager.failed, opened.store.ended]);
    await aborted(end);
    if (!scope.signal.aborted) throw end.reason;
  } finally {
    await scope.close();
  }
}

/** @throws ClusterError `invalid` when it cannot be read, or is too short to be one */
async function readLoginKey(path: string): Promise<Uint8Array | undefined> {
  if (path === '') return undefined;
  const field = 'registry-login-key';
  const key = await readFile(path).catch((cause: unknown) => {
    throw new ClusterError('invalid', `cannot read ${path}: ${messageOf(cause)}`, { field, cause });
  });
  if (key.length >= LOGIN_KEY_BYTES_MIN) return key;
  throw new ClusterError('invalid', `${path} has ${key.length} bytes, at least ${LOGIN_KEY_BYTES_MIN} are needed`, {
    field,
    hint: 'make one: head -c 32 /dev/urandom',
  });
}

function refuse(words: readonly string[]): void {
  if (words.length === 0) return;
  throw new ClusterError('invalid', `"${words.join(' ')}" is not understood`, { hint: `covey-manager ${USAGE}` });
}

function say(text: string): void {
  process.stdout.write(text);
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (cause: unknown) => {
    const error = toClusterError(cause);
    process.stderr.write(`covey-manager: ${explain(error)}\n`);
    process.exit(error.code === 'invalid' ? EXIT.usage : EXIT.error);
  },
);
