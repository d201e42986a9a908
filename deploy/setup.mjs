// Makes a bare Debian 12 with Node 20 ready: Debian packages, npm packages, generated code, native core, dist/.
// Idempotent; says what it does; installs nothing that is there. Plain Node without dependencies.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RUNTIME_PACKAGES, TEST_PACKAGES } from './packages.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const NODE_MIN = [20, 19];

/** Sets everything up. `tests`: also what only tests need. */
export function setUp({ tests }) {
  checkHost();
  installDebianPackages(tests ? [...RUNTIME_PACKAGES, ...TEST_PACKAGES] : RUNTIME_PACKAGES);
  installNpmPackages();
  execFileSync(process.execPath, [join(root, 'deploy', 'build.mjs')], { stdio: 'inherit', cwd: root });
}

function checkHost() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1])) {
    fail(`Node ${process.versions.node} is too old`, `install Node ${NODE_MIN.join('.')} or newer`);
  }
  if (process.getuid?.() !== 0)
    fail('not running as root', 'namespaces, mounts and nftables need root: run it with sudo');
  if (process.platform !== 'linux') fail(`Covey runs on Linux, not on ${process.platform}`, 'use a Debian 12 machine');
}

function installDebianPackages(wanted) {
  const missing = wanted.filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  if (spawnSync('apt-get', ['--version']).status !== 0) {
    fail(`these Debian packages are missing and there is no apt-get: ${missing.join(' ')}`, 'install them by hand');
  }
  console.log(`installing Debian packages: ${missing.join(' ')}`);
  // etcd-server would start a service of its own: a policy that says "no" (101) keeps every maintainer script from it.
  // Source: /usr/share/doc/init-system-helpers/README.policy-rc.d.gz
  withoutServices((env) => {
    const apt = (...args) => spawnSync('apt-get', args, { stdio: ['ignore', 'ignore', 'inherit'], env }).status === 0;
    if (!apt('update', '-qq')) fail('apt-get update failed', 'check /etc/apt/sources.list and the network');
    if (!apt('install', '-y', '-qq', '--no-install-recommends', ...missing)) {
      fail(`apt-get could not install ${missing.join(' ')}`, 'see its message above');
    }
  });
}

/** Runs `work` while no package may start a service, and enables none. */
function withoutServices(work) {
  const policy = '/usr/sbin/policy-rc.d';
  const presets = '/etc/systemd/system-preset';
  const preset = join(presets, '00-covey-setup.preset');
  const before = existsSync(policy) ? { text: readFileSync(policy), mode: statSync(policy).mode } : undefined;
  const hasPresets = existsSync(presets);
  const units = existsSync('/etc/systemd/system/multi-user.target.wants/etcd.service');
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  if (hasPresets) writeFileSync(preset, 'disable etcd.service\n');
  try {
    work({ ...process.env, DEBIAN_FRONTEND: 'noninteractive' });
  } finally {
    if (before === undefined) rmSync(policy, { force: true });
    else writeFileSync(policy, before.text, { mode: before.mode });
    rmSync(preset, { force: true });
    // The package enables its unit; it was not there before us, so it is ours to disable.
    if (!units) rmSync('/etc/systemd/system/multi-user.target.wants/etcd.service', { force: true });
  }
}

function isInstalled(name) {
  const query = spawnSync('dpkg-query', ['-W', '-f=$' + '{db:Status-Status}', name], { encoding: 'utf8' });
  return query.status === 0 && query.stdout === 'installed';
}

function installNpmPackages() {
  const lock = join(root, 'package-lock.json');
  const stamp = join(root, 'node_modules', '.package-lock.json');
  if (existsSync(stamp) && statSync(stamp).mtimeMs >= statSync(lock).mtimeMs) return;
  console.log('installing npm packages');
  try {
    // Not `npm ci`: it refuses a lock file without the programs of other platforms, which a registry may not carry.
    // `--no-save` takes the versions and checksums of the lock file and leaves it as it is.
    const args = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
    execFileSync('npm', args, { cwd: root, stdio: 'inherit' });
  } catch {
    fail('npm install failed', 'see its message above');
  }
}

function fail(what, next) {
  console.error(`covey setup: ${what}; ${next}`);
  process.exit(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  setUp({ tests: process.argv.includes('--tests') });
  console.log('covey is set up');
}
