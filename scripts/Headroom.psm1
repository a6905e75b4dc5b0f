# What the scripts beside this file share. Windows PowerShell 5.1 and PowerShell 7; plain ASCII, which both read alike.

Set-StrictMode -Version 2.0

# The service's name, which is the filter's as well.
$script:Service = 'headroom'
$script:ServiceKey = "HKLM:\SYSTEM\CurrentControlSet\Services\$($script:Service)"

<#
.SYNOPSIS
Says what is being done, before it is done.
#>
function Write-Step {
    param([Parameter(Mandatory)] [string] $Text)
    Write-Host "  $Text"
}

<#
.SYNOPSIS
Runs a program and returns its output; throws with that output where it fails.
#>
function Invoke-Tool {
    param(
        [Parameter(Mandatory)] [string] $Program,
        [string[]] $Arguments = @(),
        [int[]] $Success = @(0)
    )
    # A program's error stream must not end the script: its exit code decides. Windows PowerShell would make an error record of each line.
    $preference = $ErrorActionPreference
    $ErrorActionPreference = 'Continue'
    try {
        $output = (& $Program @Arguments 2>&1 | Out-String).Trim()
        $code = $LASTEXITCODE
    }
    finally {
        $ErrorActionPreference = $preference
    }
    if ($Success -notcontains $code) {
        throw "$Program $($Arguments -join ' ') ended with $code. It said: $output"
    }
    $output
}

<#
.SYNOPSIS
Throws unless this is a 64-bit process on x64 Windows, run by an elevated administrator.
#>
function Assert-Machine {
    if ($env:PROCESSOR_ARCHITECTURE -ne 'AMD64') {
        throw "This process is $($env:PROCESSOR_ARCHITECTURE); Headroom is built for x64. Start a 64-bit PowerShell on an x64 Windows."
    }
    $principal = [Security.Principal.WindowsPrincipal] [Security.Principal.WindowsIdentity]::GetCurrent()
    if (-not $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
        throw 'This needs an elevated PowerShell: start it with "Run as administrator".'
    }
}

<#
.SYNOPSIS
Whether this start of Windows accepts test-signed drivers. Read from the options that the loader handed to the kernel: `bcdedit` tells of the
next start, and in the system's language.
#>
function Test-TestSigning {
    Test-StartOption 'TESTSIGNING'
}

<#
.SYNOPSIS
Whether the loader handed an option to the kernel at this start.
#>
function Test-StartOption {
    param([Parameter(Mandatory)] [string] $Option)
    $key = 'HKLM:\SYSTEM\CurrentControlSet\Control'
    $options = (Get-ItemProperty -LiteralPath $key -Name SystemStartOptions).SystemStartOptions
    ($options -split '\s+') -contains $Option
}

<#
.SYNOPSIS
A registry value, or $null where the key or the value is not there.
#>
function Get-RegistryValue {
    param([Parameter(Mandatory)] [string] $Path, [Parameter(Mandatory)] [string] $Name)
    if (-not (Test-Path -LiteralPath $Path)) { return $null }
    $key = Get-Item -LiteralPath $Path
    # Not expanded: what is put back must be what was there.
    $key.GetValue($Name, $null, [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
}

<#
.SYNOPSIS
Whether the Filter Manager has the driver loaded.
#>
function Test-Loaded {
    # The service of a loaded minifilter runs: one state, whatever the system's language.
    $service = Get-Service -Name $script:Service -ErrorAction SilentlyContinue
    ($null -ne $service) -and ($service.Status -eq 'Running')
}

<#
.SYNOPSIS
Unloads the driver if it is loaded.
#>
function Stop-Filter {
    if (Test-Loaded) {
        Write-Step 'unload the driver (fltmc unload)'
        Invoke-Tool fltmc.exe @('unload', $script:Service) | Out-Null
    }
}

<#
.SYNOPSIS
The folder of a package, checked to hold the files that installing takes.
#>
function Resolve-Package {
    param([Parameter(Mandatory)] [string] $Path)
    $folder = (Resolve-Path -LiteralPath $Path).ProviderPath
    foreach ($file in 'headroom.sys', 'headroom.inf', 'headroom.cat') {
        if (-not (Test-Path -LiteralPath (Join-Path $folder $file))) {
            throw "$folder holds no $($file): name the folder of the package with -Package, or unpack its zip again."
        }
    }
    $folder
}

# DiInstallDriver and DiUninstallDriver are how a primitive driver (an INF with DefaultInstall and no Manufacturer section) is installed from
# Windows 10 version 1903 on. An older Windows has SetupAPI process the sections instead.
$script:PrimitiveDrivers = 18362

function Invoke-DriverInstaller {
    param([Parameter(Mandatory)] [ValidateSet('Install', 'Uninstall')] [string] $Action, [Parameter(Mandatory)] [string] $Inf)
    if (-not ('Headroom.NewDev' -as [type])) {
        Add-Type -Namespace Headroom -Name NewDev -MemberDefinition @'
[DllImport("newdev.dll", CharSet = CharSet.Unicode, SetLastError = true, ExactSpelling = true)]
[return: MarshalAs(UnmanagedType.Bool)]
public static extern bool DiInstallDriverW(IntPtr parent, string inf, uint flags, [MarshalAs(UnmanagedType.Bool)] out bool needsRestart);

[DllImport("newdev.dll", CharSet = CharSet.Unicode, SetLastError = true, ExactSpelling = true)]
[return: MarshalAs(UnmanagedType.Bool)]
public static extern bool DiUninstallDriverW(IntPtr parent, string inf, uint flags, [MarshalAs(UnmanagedType.Bool)] out bool needsRestart);
'@
    }
    $needsRestart = $false
    if ($Action -eq 'Install') {
        $done = [Headroom.NewDev]::DiInstallDriverW([IntPtr]::Zero, $Inf, 0, [ref] $needsRestart)
    }
    else {
        $done = [Headroom.NewDev]::DiUninstallDriverW([IntPtr]::Zero, $Inf, 0, [ref] $needsRestart)
    }
    # At once: the next call of the runtime's own may set another.
    $code = [Runtime.InteropServices.Marshal]::GetLastWin32Error()
    if (-not $done) {
        $why = (New-Object ComponentModel.Win32Exception $code).Message
        throw ('{0} of {1} failed with 0x{2:X8}: {3} Details: {4}\INF\setupapi.dev.log, and setupapi.app.log beside it.' -f $Action, $Inf, $code, $why, $env:SystemRoot)
    }
    [bool] $needsRestart
}

<#
.SYNOPSIS
Installs what an INF describes. Returns whether Windows wants a restart.
#>
function Install-Inf {
    param([Parameter(Mandatory)] [string] $Inf)
    if ([Environment]::OSVersion.Version.Build -ge $script:PrimitiveDrivers) {
        return Invoke-DriverInstaller -Action Install -Inf $Inf
    }
    Invoke-InfSection -Section 'DefaultInstall.NTamd64' -Inf $Inf
    $false
}

<#
.SYNOPSIS
Undoes what an INF describes. Returns whether Windows wants a restart.
#>
function Uninstall-Inf {
    param([Parameter(Mandatory)] [string] $Inf)
    if ([Environment]::OSVersion.Version.Build -ge $script:PrimitiveDrivers) {
        return Invoke-DriverInstaller -Action Uninstall -Inf $Inf
    }
    Invoke-InfSection -Section 'DefaultUninstall.NTamd64' -Inf $Inf
    $false
}

function Invoke-InfSection {
    param([Parameter(Mandatory)] [string] $Section, [Parameter(Mandatory)] [string] $Inf)
    # 128: the path is used as given; 4: quiet where a restart would be wanted. It has no result of its own: callers look at what it did. One
    # string, since everything behind the mode is the path, spaces included, and takes no quotes.
    $process = Start-Process -FilePath "$env:SystemRoot\System32\rundll32.exe" -ArgumentList "setupapi.dll,InstallHinfSection $Section 132 $Inf" -Wait -PassThru
    if ($process.ExitCode -ne 0) {
        throw "rundll32 setupapi.dll,InstallHinfSection $Section ended with $($process.ExitCode)."
    }
}

Export-ModuleMember -Function Write-Step, Invoke-Tool, Assert-Machine, Test-TestSigning, Test-StartOption, Get-RegistryValue, Test-Loaded, Stop-Filter, Resolve-Package, Install-Inf, Uninstall-Inf -Variable Service, ServiceKey
