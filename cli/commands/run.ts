/** `run` and `create`: a container without a service, on a node. Exit codes are Docker's. */
import { existsSync, writeFileSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import type { Command } from 'commander';
import { explain, toClusterError } from '../../common/errors.ts';
import { parseReference } from '../../common/oci/reference.ts';
import { toContainerSpec } from '../../common/wire/container.ts';
import type { covey } from '../../proto/messages.ts';
import { attached } from '../attachment.ts';
import { bringImage } from '../bring-image.ts';
import { brief, type ControlClient, type EngineClient, interruptible, withCluster } from '../client.ts';
import { addContainerFlags, addRunFlags, type RunWish, runWish } from '../flags/container-flags.ts';
import { randomName } from '../flags/random-name.ts';
import type { Given } from '../flags/service-edits.ts';
import { refuse } from '../flags/values.ts';
import { sizeOf } from '../terminal.ts';

/** What fails before the command could run. */
const NOT_RUN = 125;
const NAMES_MAX = 10;

const EXIT_CODES = `
Exit codes: the command's own, 128 + the signal that killed it, 125 covey itself failed, 126 the command cannot be run, 127 it does not exist.`;

/** Declares both. */
export function addRunCommands(program: Command): void {
  const run = program.command('run').description('Run a command in a new container, on a node');
  addContainerFlags(run);
  addRunFlags(run);
  declare(run).action((image: string, args: readonly string[], given: Given) =>
    guarded(async () => {
      const wish = runWish(image, args, given, process.env);
      check(wish);
      return await runContainer(wish);
    }),
  );
  const create = program.command('create').description('Create a container, on a node, without starting it');
  addContainerFlags(create);
  declare(create).action((image: string, args: readonly string[], given: Given) =>
    guarded(async () => {
      const wish = runWish(image, args, { ...given, detach: given.interactive !== true }, process.env);
      const made = await withCluster((control) => createContainer(control, wish));
      process.stdout.write(`${made.id}\n`);
      return 0;
    }),
  );
}

function declare(command: Command): Command {
  return command
    .argument('<image>', 'NAME[:TAG]')
    .argument('[command...]', "replaces the image's command")
    .addHelpText('after', EXIT_CODES)
    .passThroughOptions();
}

async function guarded(work: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await work();
  } catch (cause) {
    process.stderr.write(`covey: ${explain(toClusterError(cause))}\n`);
    process.exitCode = NOT_RUN;
  }
}

function check({ detach, interactive, tty }: RunWish): void {
  if (tty && interactive && !detach && !(process.stdin instanceof ReadStream)) {
    refuse('--tty', 'our stdin is no terminal', 'leave out -t');
  }
}

async function runContainer(wish: RunWish): Promise<number> {
  return await withCluster(async (control, engine) => {
    const made = await createContainer(control, wish);
    const { id, nodeId } = made;
    const place = { node: nodeId, container: id };
    try {
      if (wish.detach) {
        const { code, error } = await engine.startContainer(place, { signal: interruptible() });
        if (code === 0) process.stdout.write(`${id}\n`);
        else process.stderr.write(`covey: ${error}\n`);
        return code;
      }
      return await attached({
        start: startOf(place, wish),
        tty: wish.tty,
        detachKeys: wish.detachKeys,
        call: (inputs, options) => engine.attach(inputs, options),
        isHeard: false,
        lost: `what became of container ${made.name}`,
        ...(wish.sigProxy
          ? { onSignal: async (name) => void (await engine.killContainer({ ...place, signal: name }, brief())) }
          : {}),
      });
    } finally {
      if (wish.spec.autoRemove && !wish.detach) await forget(control, engine, place);
    }
  });
}

/** It went with its end; its name is free once the manager has heard. One that was left running goes later. */
async function forget(
  control: ControlClient,
  engine: EngineClient,
  place: covey.v1.ContainerRef.$Properties,
): Promise<void> {
  try {
    const { state } = await engine.inspectContainer(place, brief());
    if (state !== 'created' && state !== 'exited') return;
  } catch (cause) {
    if (toClusterError(cause).code !== 'not_found') return;
  }
  await control.removeContainer({ ref: place.container ?? '', force: false }, brief()).catch((cause: unknown) => {
    const { code, message } = toClusterError(cause);
    if (code !== 'not_found') process.stderr.write(`covey: ${message}\n`);
  });
}

function startOf(
  place: covey.v1.ContainerRef.$Properties,
  { interactive, tty }: RunWish,
): covey.v1.ExecStart.$Properties {
  const size = tty && process.stdout instanceof WriteStream ? sizeOf(process.stdout) : undefined;
  return { ...place, begin: true, stdin: interactive, tty, ...(size === undefined ? {} : { size }) };
}

/** With its image, which is brought when the cluster lacks it; with another made-up name when one is taken. */
async function createContainer(control: ControlClient, wish: RunWish): Promise<covey.v1.ContainerView> {
  const { cidfile, node, pull } = wish;
  const { image } = wish.spec.template.container;
  if (cidfile !== undefined && existsSync(cidfile)) {
    refuse('--cidfile', `container ID file found, make sure the other container isn't running or delete ${cidfile}`);
  }
  if (pull === 'always') await bringImage(control, image, { quiet: false });
  let spec = wish.spec;
  for (let names = 1; ; names += 1) {
    try {
      const made = await control.createContainer({ node, spec: toContainerSpec(spec) }, { signal: interruptible() });
      if (cidfile !== undefined) writeFileSync(cidfile, made.id, { flag: 'wx' });
      return made;
    } catch (cause) {
      const { code, field } = toClusterError(cause);
      if (code === 'exists' && wish.isNameless && names < NAMES_MAX) {
        spec = { ...spec, name: randomName() };
        continue;
      }
      if (!(code === 'not_found' && field === 'image') || pull !== 'missing' || names > 1) throw cause;
      process.stderr.write(`Unable to find image '${parseReference(image).reference}' locally\n`);
      await bringImage(control, image, { quiet: false });
    }
  }
}
