"""`verifl bench`: what the protocol costs on this machine, phase by phase.

The phases are the calls that the parties themselves make, on real keys, real randomness and a dense update just within
the norm bound. Everything that is measured runs in a process of its own, so that its peak memory is its own.

    command      the command line, and the processes it starts (imports nothing heavy)
    processes    a process apart: its result, wall time and peak memory
    stopwatch    wall and processor seconds of named phases
    machine      what it ran on
    setting      the federation that is measured
    client       a client's work, phase by phase             } verifl bench validity
    verifier     the verification and one trustee's work     }
    federation   a whole round with every party and the log    verifl bench round
    exchange     a round between processes                     verifl bench exchange
    website      a stock nginx between them                    verifl bench exchange --https
    summation    adding ciphertexts on a device                verifl bench summation
    report       one result as text or JSON
"""
