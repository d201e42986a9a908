/** What the container part of a spec may say. Pure: a flaw comes out, or nothing. */
import { logFlaw } from './log-policy.ts';
import { processFlaw } from './process-flaw.ts';
import { isDefaultProcess, normalProcessRules } from './process-rules.ts';
import type { ContainerTemplate, HealthCheck, Labels } from './service.ts';
import { DEFAULT_HEALTH, DEFAULT_START_TIMEOUT_MS } from './service.ts';
import { durationFlaw, type Flaw, firstFlaw, flawOfEach, textFlaw, wholeFlaw } from './spec-flaw.ts';

/** One argument or environment entry. Source: execve(2), MAX_ARG_STRLEN is 128 KiB with the terminating NUL. */
const ARGUMENT_MAX_BYTES = 128 * 1024 - 1;
const LABEL_KEY_MAX_BYTES = 1_024;
const LABEL_VALUE_MAX_BYTES = 64 * 1024;
const PATH_MAX_BYTES = 4_095;
const RETRIES_MAX = 10_000;

/** Source: signal(7), x86 and ARM. */
const SIGNALS: ReadonlySet<string> = new Set(
  (
    'HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CLD CONT STOP TSTP TTIN ' +
    'TTOU URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS RTMIN RTMAX'
  ).split(' '),
);

/** True for a signal's name with or without `SIG` in any case, `RTMIN+n`, `RTMAX-n`, or a number from 1 to 64 as text. */
export function isSignal(text: string): boolean {
  if (/^[0-9]{1,2}$/.test(text)) return Number(text) >= 1 && Number(text) <= 64;
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realTime = /^(?:RTMIN\+|RTMAX-)([0-9]{1,2})$/.exec(name);
  if (realTime !== null) return Number(realTime[1]) <= 30;
  return SIGNALS.has(name);
}

/** What is wrong with the container, the first thing found. Fields begin with `template.container`. */
export function containerFlaw(container: ContainerTemplate): Flaw | undefined {
  const at = (field: string): string => `template.container.${field}`;
  return firstFlaw(
    () => imageFlaw(container.image, at('image')),
    () => commandFlaw(container.entrypoint, at('entrypoint')),
    () => commandFlaw(container.args, at('args')),
    () => flawOfEach(container.env, (entry, index) => envFlaw(entry, at(`env[${index}]`))),
    () => (container.workdir === undefined ? undefined : workdirFlaw(container.workdir, at('workdir'))),
    () => (container.user === undefined ? undefined : userFlaw(container.user, at('user'))),
    () => (container.hostname === undefined ? undefined : hostnameFlaw(container.hostname, at('hostname'))),
    () => labelsFlaw(container.labels, at('labels')),
    () => signalFlaw(container.stopSignal, at('stopSignal')),
    () => durationFlaw(container.stopGraceMs, at('stopGraceMs'), 0),
    () => durationFlaw(container.startTimeoutMs, at('startTimeoutMs'), 1),
    () => durationFlaw(container.drainMs, at('drainMs'), 0),
    () => (container.log === undefined ? undefined : logFlaw(container.log, at('log'))),
    () => (container.process === undefined ? undefined : processFlaw(container.process, at('process'))),
    () => (container.health.kind === 'command' ? healthFlaw(container.health.check, at('health')) : undefined),
  );
}

/** Labels of whatever owner: keys are not empty, nothing holds a NUL. */
export function labelsFlaw(labels: Labels, field: string): Flaw | undefined {
  return flawOfEach(Object.entries(labels), ([key, value]) => {
    if (key === '') return { message: 'a label has no key', field, hint: 'write KEY=VALUE' };
    return textFlaw(key, field, LABEL_KEY_MAX_BYTES) ?? textFlaw(value, `${field}[${key}]`, LABEL_VALUE_MAX_BYTES);
  });
}

/** The container with what a 0 leaves open filled in: start timeout, and Docker's defaults of the health check; lists in order. */
export function normalContainer(given: ContainerTemplate): ContainerTemplate {
  const container = withNormalProcess(given);
  const startTimeoutMs = container.startTimeoutMs === 0 ? DEFAULT_START_TIMEOUT_MS : container.startTimeoutMs;
  if (container.health.kind !== 'command') return { ...container, startTimeoutMs };
  const { check } = container.health;
  const filled: HealthCheck = {
    test: check.test,
    intervalMs: check.intervalMs || DEFAULT_HEALTH.intervalMs,
    timeoutMs: check.timeoutMs || DEFAULT_HEALTH.timeoutMs,
    retries: check.retries || DEFAULT_HEALTH.retries,
    startPeriodMs: check.startPeriodMs,
    startIntervalMs: check.startIntervalMs || DEFAULT_HEALTH.startIntervalMs,
  };
  return { ...container, startTimeoutMs, health: { kind: 'command', check: filled } };
}

/** Absent and default are one thing, so that saying the default changes no task. */
function withNormalProcess({ process, ...rest }: ContainerTemplate): ContainerTemplate {
  const rules = process === undefined ? undefined : normalProcessRules(process);
  return rules === undefined || isDefaultProcess(rules) ? rest : { ...rest, process: rules };
}

function imageFlaw(image: string, field: string): Flaw | undefined {
  const hint = 'name an image as NAME:TAG';
  if (image === '') return { message: 'no image is given', field, hint };
  if (/[\s\p{Cc}]/u.test(image))
    return { message: `image "${printable(image)}" has spaces or control characters`, field, hint };
  return textFlaw(image, field, 512);
}

function commandFlaw(words: readonly string[] | undefined, field: string): Flaw | undefined {
  return words === undefined
    ? undefined
    : flawOfEach(words, (word, index) => textFlaw(word, `${field}[${index}]`, ARGUMENT_MAX_BYTES));
}

function envFlaw(entry: string, field: string): Flaw | undefined {
  const at = entry.indexOf('=');
  if (at < 1) {
    const what = at === 0 ? 'has no name' : 'has no value';
    return { message: `environment entry "${printable(entry)}" ${what}`, field, hint: 'write KEY=VALUE' };
  }
  return textFlaw(entry, field, ARGUMENT_MAX_BYTES);
}

function workdirFlaw(workdir: string, field: string): Flaw | undefined {
  if (!workdir.startsWith('/')) {
    return {
      message: `working directory "${printable(workdir)}" is not absolute`,
      field,
      hint: 'begin it with /, as seen inside the container',
    };
  }
  return textFlaw(workdir, field, PATH_MAX_BYTES);
}

function userFlaw(user: string, field: string): Flaw | undefined {
  const part = '(?:[0-9]{1,10}|[A-Za-z_][A-Za-z0-9_.-]{0,254}\\$?)';
  const tooLarge = user.split(':').some((id) => /^[0-9]+$/.test(id) && Number(id) > 0xffff_fffe);
  if (!tooLarge && new RegExp(`^${part}(?::${part})?$`).test(user)) return undefined;
  return {
    message: `user "${printable(user)}" is no user`,
    field,
    hint: 'write NAME or UID, then :GROUP or :GID if wanted',
  };
}

function hostnameFlaw(hostname: string, field: string): Flaw | undefined {
  const label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
  // 64 bytes is the kernel's bound (uname(2)); 63 is what everything else can carry.
  if (hostname.length <= 63 && new RegExp(`^${label}(?:\\.${label})*$`).test(hostname)) return undefined;
  return {
    message: `hostname "${printable(hostname)}" is no host name`,
    field,
    hint: 'use letters, digits and inner hyphens, at most 63 characters',
  };
}

function signalFlaw(signal: string | undefined, field: string): Flaw | undefined {
  if (signal === undefined || isSignal(signal)) return undefined;
  return {
    message: `stop signal "${printable(signal)}" is unknown`,
    field,
    hint: 'name it as in SIGTERM, or by its number',
  };
}

function healthFlaw(check: HealthCheck, field: string): Flaw | undefined {
  const [form, ...words] = check.test;
  const complete = (form === 'CMD' && words.length > 0) || (form === 'CMD-SHELL' && words.length === 1);
  if (!complete || words[0] === '') {
    return {
      message: 'the health command is empty or of no known form',
      field: `${field}.test`,
      hint: 'give a command line',
    };
  }
  return firstFlaw(
    () => commandFlaw(words, `${field}.test`),
    () => durationFlaw(check.intervalMs, `${field}.intervalMs`, 0),
    () => durationFlaw(check.timeoutMs, `${field}.timeoutMs`, 0),
    () => durationFlaw(check.startPeriodMs, `${field}.startPeriodMs`, 0),
    () => durationFlaw(check.startIntervalMs, `${field}.startIntervalMs`, 0),
    () => wholeFlaw(check.retries, `${field}.retries`, 0, RETRIES_MAX),
  );
}

/** Short and without control characters, to be quoted in a message. */
function printable(text: string): string {
  const clean = text.replace(/\p{Cc}/gu, '?');
  return clean.length > 80 ? `${clean.slice(0, 77)}...` : clean;
}
