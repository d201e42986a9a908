/** The flags of `service create` and `service update` that say what processes are and may do. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { messageOf } from '../../common/errors.ts';
import {
  capabilityName,
  DEFAULT_PROCESS_RULES,
  normalProcessRules,
  type ProcessRules,
  type Ulimit,
} from '../../common/model/process-rules.ts';
import { parseBytes } from '../../common/units.ts';
import { addSwitch } from './switch.ts';
import { keyValues, refuse, word } from './values.ts';

type Given = Readonly<Record<string, unknown>>;
type Flags = readonly (readonly [flag: string, help: string])[];

const SHARED_LISTS: Flags = [
  ['--cap-add <capability>', 'give a capability, or ALL'],
  ['--cap-drop <capability>', 'take a capability away, or ALL'],
  [
    '--security-opt <option>',
    'no-new-privileges=false, seccomp=unconfined|default|FILE, apparmor=PROFILE, selinux=LABEL',
  ],
];

/** Flags that may be given more than once. */
export const CREATE_PROCESS_LISTS: Flags = [
  ...SHARED_LISTS,
  ['--group <group>', 'one more group of its user, by name or id'],
  ['--sysctl <name=value>', 'kernel setting of its own namespaces'],
  ['--ulimit <name=soft[:hard]>', 'resource limit, as nofile=1024:4096; -1: unlimited'],
];

export const UPDATE_PROCESS_LISTS: Flags = [
  ...SHARED_LISTS,
  ['--group-add <group>', 'add a group of its user'],
  ['--group-rm <group>', 'remove a group of its user'],
  ['--sysctl-add <name=value>', 'set a kernel setting of its own namespaces'],
  ['--sysctl-rm <name>', 'remove a kernel setting'],
  ['--ulimit-add <name=soft[:hard]>', 'set a resource limit'],
  ['--ulimit-rm <name>', 'remove a resource limit'],
];

/** Declares the flags with one value, which both commands share. */
export function addProcessFlags(command: Command): void {
  addSwitch(command, '--init', 'run an init that reaps processes and hands signals on');
  addSwitch(
    command,
    '--privileged',
    'no isolation from the host worth the name: all capabilities and devices, no filter',
  );
  command
    .option('--oom-score-adj <n>', '-1000 to 1000: the higher, the sooner it is killed when memory is short')
    .option('--shm-size <bytes>', 'size of /dev/shm; 0: 64 MiB');
}

/** The rules after what was given; undefined when nothing was. @throws ClusterError `invalid` naming the flag */
export function givenProcess(before: ProcessRules | undefined, given: Given): ProcessRules | undefined {
  const rules = before ?? DEFAULT_PROCESS_RULES;
  const changed = [
    capabilities(rules, given),
    lists(rules, given),
    values(given),
    ...texts(given, 'securityOpt').map(securityOption),
  ].filter((part) => Object.keys(part).length > 0);
  if (changed.length === 0) return before;
  return normalProcessRules(Object.assign({}, rules, ...changed) as ProcessRules);
}

/** What is added is no longer dropped, and the other way round; of both at once the adding counts, as with Docker. */
function capabilities(before: ProcessRules, given: Given): Partial<ProcessRules> {
  const added = texts(given, 'capAdd').map(capabilityName);
  const dropped = texts(given, 'capDrop').map(capabilityName);
  if (added.length + dropped.length === 0) return {};
  return {
    capAdd: [...before.capAdd.filter((name) => !dropped.includes(name)), ...added],
    capDrop: [...before.capDrop.filter((name) => !added.includes(name)), ...dropped],
  };
}

function lists(before: ProcessRules, given: Given): Partial<ProcessRules> {
  const both = (key: string): readonly string[] => [...texts(given, key), ...texts(given, `${key}Add`)];
  const gone = (key: string): readonly string[] => texts(given, `${key}Rm`);
  const touched = (key: string): boolean => both(key).length + gone(key).length > 0;
  const ulimits = [...texts(given, 'ulimit').map((text) => ulimit(text, '--ulimit'))].concat(
    texts(given, 'ulimitAdd').map((text) => ulimit(text, '--ulimit-add')),
  );
  const names = new Set([...gone('ulimit'), ...ulimits.map(({ name }) => name)]);
  const sysctls = Object.entries(before.sysctls).filter(([name]) => !gone('sysctl').includes(name));
  return {
    ...(touched('group') && {
      groups: [...before.groups.filter((one) => !gone('group').includes(one)), ...both('group')],
    }),
    ...(touched('sysctl') && { sysctls: { ...Object.fromEntries(sysctls), ...keyValues(both('sysctl')) } }),
    ...(touched('ulimit') && { ulimits: [...before.ulimits.filter(({ name }) => !names.has(name)), ...ulimits] }),
  };
}

function values(given: Given): Partial<ProcessRules> {
  const { init, privileged, oomScoreAdj, shmSize } = given;
  return {
    ...(init !== undefined && { init: flag(init, '--init') }),
    ...(privileged !== undefined && { privileged: flag(privileged, '--privileged') }),
    ...(typeof oomScoreAdj === 'string' && { oomScoreAdj: score(oomScoreAdj) }),
    ...(typeof shmSize === 'string' && { shmBytes: parseBytes(shmSize, '--shm-size') }),
  };
}

function score(text: string): number {
  const number = Number(text);
  if (/^-?\d{1,4}$/.test(text) && Math.abs(number) <= 1_000) return number;
  return refuse('--oom-score-adj', `"${text}" is not a whole number from -1000 to 1000`);
}

function flag(value: unknown, name: string): boolean {
  return value === true || word(String(value), ['true', 'false'], name) === 'true';
}

/** `name=soft[:hard]`; without hard both are the same. */
function ulimit(text: string, name: string): Ulimit {
  const match = /^([a-z]+)=(-1|\d{1,15}|unlimited)(?::(-1|\d{1,15}|unlimited))?$/.exec(text);
  if (match === null)
    return refuse(name, `"${text}" is not a limit`, 'write NAME=SOFT or NAME=SOFT:HARD, as nofile=1024:4096');
  const number = (part: string): number => (part === 'unlimited' ? -1 : Number(part));
  const soft = number(match[2] ?? '');
  return { name: match[1] ?? '', soft, hard: match[3] === undefined ? soft : number(match[3]) };
}

function securityOption(text: string): Partial<ProcessRules> {
  const at = text.search(/[=:]/);
  const key = at < 0 ? text : text.slice(0, at);
  const value = at < 0 ? '' : text.slice(at + 1);
  switch (key) {
    case 'no-new-privileges':
      return { noNewPrivileges: value === '' || word(value, ['true', 'false'], '--security-opt') === 'true' };
    case 'seccomp':
      return {
        seccomp:
          value === 'unconfined' || value === 'default' ? { kind: value } : { kind: 'profile', json: profile(value) },
      };
    case 'apparmor':
      return { appArmorProfile: value };
    case 'selinux':
      return { seLinuxLabel: value };
    default:
      return refuse('--security-opt', `"${text}" is not known`, 'use no-new-privileges, seccomp, apparmor or selinux');
  }
}

function profile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    return refuse('--security-opt', `cannot read the seccomp profile ${path}: ${messageOf(cause)}`);
  }
}

function texts(given: Given, key: string): readonly string[] {
  const value = given[key];
  return Array.isArray(value) ? (value as string[]) : [];
}
