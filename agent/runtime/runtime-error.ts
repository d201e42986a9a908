/** What the native core's failures mean to whoever asked for a container. */
import { ClusterError, type ErrorCode, toClusterError } from '../../common/errors.ts';
import { isNativeError, type NativeError } from '../../native/error.ts';

/** Steps that fail because of what the image or the template says; trying again cannot help. */
const HOPELESS: ReadonlySet<string> = new Set([
  'finding the command',
  'running the command',
  'entering the working directory',
  'making the working directory',
  'setting a resource limit',
  'setting a sysctl',
  'setting a limit',
  'setting the OOM score',
  'setting the scheduler',
  'setting the I/O priority',
  'setting the personality',
  'setting the security label',
  'binding to the CPUs',
]);
/** Steps after which the first process is gone. */
const LAST_STEPS: ReadonlySet<string> = new Set([
  'installing the seccomp filter',
  'setting capabilities',
  'starting the command',
  'running the command',
]);
const EXHAUSTED: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM']);

/** True of a step that a container fails at when it is started, not when it is made: it ends with it. */
export function isLastStep(step: string | null): boolean {
  return step !== null && LAST_STEPS.has(step);
}

/** `what` names the object: `container abc`. A ClusterError stays itself. */
export function runtimeError(cause: unknown, what: string): ClusterError {
  if (!isNativeError(cause)) return toClusterError(cause);
  const code = codeOf(cause);
  return new ClusterError(code, `${what}: ${sentence(cause)}`, { cause, ...hintFor(cause) });
}

/** Of a user's command in a container, which may have ended meanwhile. */
export function execError(cause: unknown, id: string): ClusterError {
  const isGone = isNativeError(cause) && (cause.code === 'ESRCH' || isTornDown(cause));
  if (isGone) return new ClusterError('conflict', `container ${id} has ended`, { cause });
  return runtimeError(cause, `command in container ${id}`);
}

/** A pid namespace whose first process is dead takes no more; the container's cgroups go before it does. */
function isTornDown({ code, step }: NativeError): boolean {
  if (step === 'joining the container') return code === 'ENOMEM' || code === 'EINVAL';
  const isCgroup =
    step === 'making the cgroup of the command' || step === 'preparing the command' || step === 'entering a cgroup';
  return isCgroup && (code === 'ENOENT' || code === 'ENODEV');
}

function codeOf(error: NativeError): ErrorCode {
  if (error.syscall === 'validate' || (error.step !== null && HOPELESS.has(error.step))) return 'invalid';
  if (isMountRefusal(error)) return 'invalid';
  if (error.step === 'limiting the writable layer' && error.code === 'EOPNOTSUPP') return 'invalid';
  if (error.step === 'resizing the terminal' && error.code === 'ENOTTY') return 'invalid';
  if (error.step === 'pausing' && error.code === 'ETIMEDOUT') return 'unavailable';
  return EXHAUSTED.has(error.code) ? 'exhausted' : 'internal';
}

function sentence(error: NativeError): string {
  const path = error.path ?? '';
  if (error.step === 'finding the command' || error.step === 'running the command') {
    if (error.code === 'ENOENT') return `command "${path}" does not exist in the image`;
    if (error.code === 'EACCES' || error.code === 'EISDIR') return `command "${path}" is not executable for this user`;
    if (error.code === 'E2BIG') {
      return (
        `command "${path}" cannot be run with so much: the kernel takes 128 KiB for one argument or variable, ` +
        'and for all of them together a quarter of the stack limit, at most 6 MiB'
      );
    }
    if (error.code === 'ENOEXEC') return `command "${path}" is not a program for this machine`;
  }
  if (error.step === 'mapping the ids of a bound path')
    return `what is mounted at "${path}" of the host, or below it, cannot be shown with the container’s ids: ${error.code}`;
  if (isMountRefusal(error))
    return `nothing can be mounted at "${path}": ${error.code}: a folder goes on a folder and a file on a file, with options that the kernel takes`;
  if (isUnknownLabel(error)) return `AppArmor profile "${path.replace(/^exec /, '')}" is not loaded on this host`;
  if (error.step === 'setting a limit') return `${limitRefusal(error)}: ${error.message}`;
  if (error.step?.endsWith('the working directory') === true) {
    return `working directory "${path}" cannot be entered: ${error.code}`;
  }
  return error.message;
}

/** What a user asks to be shown, and the kernel does not give: not every file system can be mapped, nor a file lie on a folder. */
function isMountRefusal({ step, code }: NativeError): boolean {
  if (step === 'mapping the ids of a bound path') return code === 'EINVAL' || code === 'EPERM';
  const isMount = step === 'binding a path of the host' || step === 'mounting a file system';
  return isMount && (code === 'ENOTDIR' || code === 'EISDIR' || code === 'EINVAL' || code === 'ELOOP');
}

/** The kernel knows no profile of that name. Source: apparmor(7), aa_change_onexec(2). */
function isUnknownLabel({ step, code, path }: NativeError): boolean {
  return step === 'setting the security label' && code === 'ENOENT' && path?.startsWith('exec ') === true;
}

/** What the kernel means by refusing a value for a cgroup's file. Source: kernel docs, cgroup-v1 and cgroup-v2. */
function limitRefusal(error: NativeError): string {
  const file = (error.path ?? '').split('/').at(-1) ?? '';
  switch (error.code) {
    case 'ENOENT':
      return `this kernel has no ${file}`;
    case 'EOPNOTSUPP':
      return `this kernel does not keep ${file}`;
    case 'EBUSY':
      return `more is in use than ${file} is to allow`;
    case 'ENODEV':
      return `the device of ${file} does not exist on this host`;
    default:
      return `the kernel does not take the value for ${file}`;
  }
}

function hintFor(error: NativeError): { readonly hint?: string } {
  if (error.step === 'finding the command')
    return { hint: 'check the command, --entrypoint and the PATH of the image' };
  if (error.step?.endsWith('the working directory') === true) return { hint: 'check --workdir and --user' };
  if (error.step === 'mapping the ids of a bound path')
    return { hint: 'name a folder without other file systems below it, or add --userns host' };
  if (isUnknownLabel(error))
    return { hint: 'aa-status lists the loaded profiles, apparmor_parser --replace FILE loads one' };
  if (error.step === 'setting the OOM score')
    return { hint: 'a host whose agent lacks CAP_SYS_RESOURCE cannot lower it; use 0 or more' };
  if (error.code === 'ENOSPC') return { hint: 'free space on the file system of the agent’s state directory' };
  return {};
}
