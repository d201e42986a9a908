import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { addSwitch } from '../../../cli/flags/switch.ts';

function parsed(...words: readonly string[]) {
  const command = new Command('create')
    .argument('<image>')
    .argument('[args...]')
    .option('-d, --detach')
    .passThroughOptions()
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  addSwitch(command, '-t, --tty', 'a terminal');
  addSwitch(command, '--read-only', 'nothing can be written');
  command.parse([...words], { from: 'user' });
  return { ...command.opts(), args: command.args };
}

describe('a switch', () => {
  it('stands alone before the image', () => {
    expect(parsed('--tty', 'web:1')).toEqual({ tty: true, args: ['web:1'] });
    expect(parsed('-dt', 'web:1', 'sh')).toEqual({ detach: true, tty: true, args: ['web:1', 'sh'] });
    expect(parsed('web:1')).toEqual({ args: ['web:1'] });
  });

  it('says what it is after an equals sign', () => {
    expect(parsed('--tty=false', '--read-only=true', 'web:1')).toEqual({ tty: false, readOnly: true, args: ['web:1'] });
  });

  it('is whatever was said last', () => {
    expect(parsed('--tty', '--tty=false', 'web:1')).toMatchObject({ tty: false });
  });

  it('is the command’s own behind the image', () => {
    expect(parsed('web:1', 'run', '--tty=false')).toEqual({ args: ['web:1', 'run', '--tty=false'] });
  });

  it('takes no other value', () => {
    expect(() => parsed('--tty=perhaps', 'web:1')).toThrow('--tty=perhaps');
  });
});
